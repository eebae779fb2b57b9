"""Interactions are ordered by session and position, whatever their order in the file."""

from pathlib import Path

import polars as pl
import pytest

from ubm_embed.data.interactions import read_interactions
from ubm_embed.errors import InvalidData


def read(folder: Path, rows: list[tuple[str, int, str]]) -> list[tuple[str, int, str]]:
    file = folder / "interactions.parquet"
    frame = pl.DataFrame(rows, schema=["session_id", "position", "product_id"], orient="row")
    frame.with_columns(action=pl.lit("view")).write_parquet(file)
    return read_interactions(file).select("session_id", "position", "product_id").rows()


@pytest.mark.parametrize(
    "rows",
    [
        [("b", 0, "1"), ("b", 1, "2"), ("a", 0, "3")],  # in order
        [("b", 0, "1"), ("a", 0, "2"), ("b", 1, "3")],  # a session in two pieces
        [("b", 1, "1"), ("b", 0, "2"), ("a", 5, "3")],  # positions go back
        [("b", 1, "1"), ("b", 1, "2"), ("b", 0, "3"), ("b", 0, "4")],  # the same position twice
        [("b", 7, "1"), ("a", 3, "2"), ("c", 1, "3")],  # sessions of one
        [("a", 0, "1"), ("b", 0, "2"), ("a", 0, "3"), ("b", 0, "4")],
    ],
)
def test_rows_are_ordered_by_first_occurrence_of_the_session_then_position(
    tmp_path: Path, rows: list[tuple[str, int, str]]
) -> None:
    first = {session: place for place, (session, _, _) in reversed(list(enumerate(rows)))}
    assert read(tmp_path, rows) == sorted(rows, key=lambda row: (first[row[0]], row[1]))


def test_ids_are_those_of_the_products(tmp_path: Path) -> None:
    assert read(tmp_path, [(" a", 0, "17.0"), ("a", 1, "p1\u00a0")]) == [("a", 0, "17"), ("a", 1, "p1")]


@pytest.mark.parametrize("field", ["session_id", "product_id"])
@pytest.mark.parametrize("value", ["undefined", "  ", "NaN", None])
def test_what_stands_for_no_id_is_refused(tmp_path: Path, field: str, value: str | None) -> None:
    rows = pl.DataFrame({"session_id": ["a", "b"], "position": [0, 0], "action": ["view", "buy"], "product_id": "p"})
    file = tmp_path / "interactions.parquet"
    odd = pl.when(pl.col("action") == "buy").then(pl.lit(value, pl.String)).otherwise(field)
    rows.with_columns(odd.alias(field)).write_parquet(file)
    with pytest.raises(InvalidData) as caught:
        read_interactions(file)
    assert (caught.value.row, caught.value.field) == (2, field)


def test_a_search_needs_no_product(tmp_path: Path) -> None:
    file = tmp_path / "interactions.parquet"
    row = {"session_id": "a", "position": 0, "action": "search", "query": "red", "product_id": "undefined"}
    pl.DataFrame([row]).write_parquet(file)
    assert read_interactions(file)["product_id"].to_list() == [None]
