"""The interactions of a corpus: every session's actions, in order."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ubm_embed.data.ids import clean_ids, is_no_id, is_odd_id
from ubm_embed.data.session import ACTIONS
from ubm_embed.data.tables.columns import Requirement, as_text, conform, require_all
from ubm_embed.data.tables.in_words import type_in_words
from ubm_embed.data.tables.table_files import collect_tables, scan_table, table_files
from ubm_embed.data.tables.timestamps import as_timestamp

INTERACTION_SCHEMA: dict[str, pl.DataType] = {
    "session_id": pl.String(),
    "position": pl.Int32(),
    "action": pl.String(),
    "product_id": pl.String(),
    "query": pl.String(),
}


def read_interactions(file: str | Path) -> pl.DataFrame:
    """Interactions of any file that `scan_table` reads, ordered by session, then position, with ids by the one rule.

    Raises:
        NotFound: no such file.
        InvalidData: not readable, a missing column, no rows, an unknown action, a product action without a product,
            a search without a phrase, an invalid timestamp.
    """
    (frame,) = collect_tables([scan_table(file)], table_files(file))
    frame = _with_types(conform(frame, INTERACTION_SCHEMA, optional={"query"}, file=file), file)
    require_all(frame, _requirements(), file)
    return in_order(_with_clean_ids(frame))


def scan_interactions(file: str | Path) -> pl.LazyFrame:
    """As `read_interactions`, without further columns and in the file's order; nothing of the file is held in memory.

    Its rows are checked here, and read again when they are collected.

    Raises:
        NotFound, InvalidData: as `read_interactions`.
    """
    frame = scan_table(file)
    (head,) = collect_tables([frame.head(1)], table_files(file))
    conform(head, INTERACTION_SCHEMA, optional={"query"}, file=file)  # raises for a column that cannot be cast
    collect_tables([frame.select(pl.all().count())], table_files(file))  # raises for a file that cannot be read
    types, casts = frame.collect_schema(), {}
    for name, dtype in INTERACTION_SCHEMA.items():
        column = pl.col(name) if name in types else pl.lit(None, dtype)
        is_text = dtype == pl.String and name in types
        casts[name] = as_text(column, types[name]) if is_text else column.cast(dtype, strict=False)
    requirements = [
        Requirement(name, cast.is_not_null() | pl.col(name).is_null(), type_in_words(INTERACTION_SCHEMA[name]))
        for name, cast in casts.items()
        if name in types
    ]
    if types.get("timestamp") == pl.String:
        requirements.append(valid_timestamp(pl.String()))
    require_all(frame, requirements, file)
    typed = frame.select(cast.alias(name) for name, cast in casts.items())
    require_all(typed, _requirements(), file)
    return typed.with_columns(clean_ids(pl.col(name)) for name in ("session_id", "product_id"))


def _requirements() -> list[Requirement]:
    searching = pl.col("action") == "search"
    query, product = pl.col("query").fill_null("") != "", ~is_no_id(pl.col("product_id").fill_null(""))
    return [
        Requirement("session_id", ~is_no_id(pl.col("session_id").fill_null("")), "an id"),
        Requirement("position", pl.col("position").is_not_null(), "a whole number"),
        known_action(),
        Requirement("query", ~searching | query, "a search phrase for action 'search'"),
        Requirement("product_id", searching | product, "a product for an action other than 'search'"),
    ]


def _with_clean_ids(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows with ids as the products have them. A column without an odd one is not copied."""
    names = [name for name in ("session_id", "product_id", "user_id") if name in frame.columns]
    odd = frame.lazy().select(is_odd_id(pl.col(name)).any() for name in names).collect(engine="streaming")
    return frame.with_columns(clean_ids(pl.col(name)) for name in names if odd[name].item())


def in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows by session, then position. Rows in that order are returned unchanged: a sort copies all of them."""
    session, position = pl.col("session_id"), pl.col("position")
    begins = session.ne_missing(session.shift(1))
    together = begins.sum() == session.n_unique()
    if frame.select(together & (begins | (position >= position.shift(1))).all()).item():
        return frame
    # A stable sort by first occurrence keeps the log's order of sessions, so that a split of sessions is repeatable.
    # Rows are numbered outside the window, since `int_range` inside `over` counts each session from 0.
    numbered = frame.with_row_index("_row")
    first_seen = pl.col("_row").min().over("session_id")
    return numbered.sort(first_seen, pl.col("position"), maintain_order=True).drop("_row")


def known_action() -> Requirement:
    """The requirement that an action is one of `ACTIONS`."""
    return Requirement("action", pl.col("action").is_in(list(ACTIONS)).fill_null(False), f"one of {', '.join(ACTIONS)}")


def valid_timestamp(dtype: pl.DataType, parsed: pl.Expr | None = None) -> Requirement:
    """The requirement that a timestamp of type `dtype` is valid or empty.

    Args:
        parsed: the timestamps as `TIMESTAMP`, if they are parsed already.
    """
    moment = pl.col("timestamp")
    parsed = as_timestamp(moment, dtype) if parsed is None else parsed
    empty = moment.str.strip_chars().fill_null("") == "" if dtype == pl.String else moment.is_null()
    return Requirement("timestamp", parsed.is_not_null() | empty, "an ISO 8601 time or a number since 1970")


def _with_types(frame: pl.DataFrame, file: str | Path) -> pl.DataFrame:
    """The optional columns in their types: timestamps of a text file are text, user ids may be numbers."""
    if "user_id" in frame.columns:
        frame = frame.with_columns(as_text(pl.col("user_id"), frame.schema["user_id"]))
    if frame.schema.get("timestamp") == pl.String:
        require_all(frame, [valid_timestamp(pl.String())], file)
        frame = frame.with_columns(as_timestamp(pl.col("timestamp"), pl.String()))
    return frame
