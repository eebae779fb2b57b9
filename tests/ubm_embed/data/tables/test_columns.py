"""Which text columns become numbers."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ubm_embed.data.tables.columns import Requirement, as_numbers, casts, number_types, require_all
from ubm_embed.data.tables.table_files import scan_table
from ubm_embed.errors import InvalidData

WHOLE, FRACTION = pl.Int64(), pl.Float64()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "-2", "0", None], WHOLE),
        (["1", "2.5"], FRACTION),
        (["1e3"], FRACTION),
        (["1", "2.0"], FRACTION),
        (["-0.5", "1E-3", None], FRACTION),
        ([str(2**63 - 1), str(-(2**63))], WHOLE),
        ([str(2**63)], None),
        ([str(2**63), "0.5"], FRACTION),
        (["007", "8"], None),
        (["1", ""], None),
        (["1", " 2"], None),
        (["1", "2\n"], None),
        (["+1"], None),
        (["1."], None),
        ([".5"], None),
        (["1,5"], None),
        (["nan"], None),
        (["inf"], None),
        (["0x1"], None),
        (["١"], None),  # a digit of another script
        ([None, None], None),
    ],
)
def test_a_column_is_of_numbers_where_every_value_is_written_as_one(
    values: list[str | None], expected: pl.DataType | None
) -> None:
    frame = pl.DataFrame({"n": values}, schema={"n": pl.String})
    types = number_types(frame.lazy(), ["n"])
    assert types == ({} if expected is None else {"n": expected})
    converted = as_numbers(frame, ["n"])
    assert converted.equals(frame.with_columns(casts(types)))
    parse: Any = {None: str, WHOLE: int, FRACTION: float}[expected]
    assert converted["n"].to_list() == [None if value is None else parse(value) for value in values]


def test_only_text_columns_that_are_named_are_looked_at() -> None:
    frame = pl.DataFrame({"a": ["1"], "b": ["1"], "c": [1], "d": [True]})
    assert number_types(frame.lazy(), ["a", "c", "d"]) == {"a": WHOLE}
    assert number_types(frame.lazy(), []) == {}
    assert as_numbers(frame, ["a", "c"]).schema == {"a": WHOLE, "b": pl.String(), "c": WHOLE, "d": pl.Boolean()}


def test_one_value_at_the_end_decides_for_the_whole_column() -> None:
    numbers = [str(row) for row in range(10_000)]
    assert number_types(pl.LazyFrame({"n": numbers}), ["n"]) == {"n": WHOLE}
    assert number_types(pl.LazyFrame({"n": [*numbers, "x"]}), ["n"]) == {}
    assert number_types(pl.LazyFrame({"n": [*numbers, "0.5"]}), ["n"]) == {"n": FRACTION}


def test_the_first_requirement_that_is_not_met_names_its_first_row() -> None:
    frame = pl.DataFrame({"a": [1, 2, 3, None], "b": [1, -1, 1, 1]})
    positive = [Requirement(name, pl.col(name) > 0, "a positive number") for name in "ab"]
    small = Requirement("a", pl.col("a") < 2, "a small number")
    require_all(frame, positive[:1], "f.csv")  # what is not known is not refused
    with pytest.raises(InvalidData) as caught:
        require_all(frame, [positive[0], small, positive[1]], "f.csv")
    assert (caught.value.row, caught.value.field) == (2, "a")
    assert "a small number, got 2 (and 1 more rows)" in str(caught.value)


def test_the_row_is_that_of_its_file(tmp_path: Path) -> None:
    for name, text in (("a", '{"n": 1}\n\n{"n": 2}\n'), ("b", '\n{"n": 3}\n\n{"n": 4}\n')):
        (tmp_path / f"{name}.jsonl").write_text(text)
    small = [Requirement("n", pl.col("n").cast(pl.Int64) < 4, "a small number")]
    with pytest.raises(InvalidData) as caught:
        require_all(scan_table(tmp_path), small, tmp_path)
    assert (caught.value.file, caught.value.row) == (tmp_path / "b.jsonl", 4)
    with pytest.raises(InvalidData) as caught:
        require_all(scan_table(tmp_path).select("n"), [Requirement("n", pl.col("n") < "2", "one")], tmp_path)
    assert (caught.value.file, caught.value.row) == (tmp_path / "a.jsonl", 3)
