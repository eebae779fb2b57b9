"""Rows that are not as required are named."""

from pathlib import Path

import polars as pl
import pytest

from ubm_embed.data.tables.columns import Requirement, require_all
from ubm_embed.data.tables.table_files import scan_table
from ubm_embed.errors import InvalidData


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
