"""Interactions are ordered by session and position, whatever their order in the file."""

from pathlib import Path

import polars as pl
import pytest

from ubm_embed.data.interactions import read_interactions


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
