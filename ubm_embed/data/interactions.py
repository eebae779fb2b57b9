"""The interactions of a corpus: every session's actions, in order."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ubm_embed.data.columns import as_text, conform, require
from ubm_embed.data.session import ACTIONS
from ubm_embed.data.tables import collect_tables, scan_table, table_files
from ubm_embed.data.timestamps import as_timestamp

INTERACTION_SCHEMA: dict[str, pl.DataType] = {
    "session_id": pl.String(),
    "position": pl.Int32(),
    "action": pl.String(),
    "product_id": pl.String(),
    "query": pl.String(),
}


def read_interactions(file: str | Path) -> pl.DataFrame:
    """Interactions of any file that `scan_table` reads, ordered by session, then position.

    Raises:
        NotFound: no such file.
        InvalidData: not readable, a missing column, no rows, an unknown action, a product action without a product,
            a search without a phrase, a timestamp that is text and none.
    """
    (frame,) = collect_tables([scan_table(file)], table_files(file))
    frame = _with_types(conform(frame, INTERACTION_SCHEMA, optional={"query"}, file=file), file)
    require(frame, pl.col("session_id").fill_null("") != "", file, "session_id", "an id")
    require(frame, pl.col("position").is_not_null(), file, "position", "a whole number")
    require_actions(frame, file)
    searching = pl.col("action") == "search"
    query, product = pl.col("query").fill_null("") != "", pl.col("product_id").fill_null("") != ""
    require(frame, ~searching | query, file, "query", "a search phrase for action 'search'")
    require(frame, searching | product, file, "product_id", "a product for an action other than 'search'")
    # A stable sort by first occurrence keeps the log's order of sessions, and so a split over sessions repeatable.
    # (Numbered outside the window: `int_range` inside `over` counts each session from 0.)
    numbered = frame.with_row_index("_row")
    first_seen = pl.col("_row").min().over("session_id")
    return numbered.sort(first_seen, pl.col("position"), maintain_order=True).drop("_row")


def require_actions(frame: pl.DataFrame | pl.LazyFrame, file: str | Path) -> None:
    """Raise InvalidData for the first row whose action is not one of `ACTIONS`."""
    known = pl.col("action").is_in(list(ACTIONS)).fill_null(False)
    require(frame, known, file, "action", f"one of {', '.join(ACTIONS)}")


def require_timestamps(frame: pl.DataFrame | pl.LazyFrame, dtype: pl.DataType, file: str | Path) -> None:
    """Raise InvalidData for the first row whose timestamp, of type `dtype`, is filled and no moment."""
    moment = as_timestamp(pl.col("timestamp"), dtype)
    empty = pl.col("timestamp").cast(pl.String).fill_null("").str.strip_chars() == ""
    require(frame, moment.is_not_null() | empty, file, "timestamp", "an ISO 8601 time or a number since 1970")


def _with_types(frame: pl.DataFrame, file: str | Path) -> pl.DataFrame:
    """The optional columns in their types: a text file's timestamps are text, a user's id may be a number."""
    if "user_id" in frame.columns:
        frame = frame.with_columns(as_text(pl.col("user_id"), frame.schema["user_id"]))
    if frame.schema.get("timestamp") == pl.String:
        require_timestamps(frame, pl.String(), file)
        frame = frame.with_columns(as_timestamp(pl.col("timestamp"), pl.String()))
    return frame
