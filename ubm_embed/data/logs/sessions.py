"""Sessions from events: split at silence, put in order, numbered; on disk where they do not fit in memory.

With the log, memory grows by a name and a few numbers for each session, never by the events.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl

from ubm_embed.data.logs.parts import ROWS, join_short, numbered_parts, parts_of, write_aside


def split_sessions(events: pl.DataFrame, gap: timedelta) -> pl.DataFrame:
    """`events` with a session_id for those that lack one.

    A user's visit ends after `gap` or more without an event. In a visit with events that have a session, those that
    lack one (a purchase that the shop's server sent) belong to the session before them, else to the one after.

    Args:
        events: session_id, user_id, timestamp, order; where session_id is null, user_id and timestamp are not.
    """
    placed = pl.col("user_id").is_not_null() & pl.col("timestamp").is_not_null()
    visits = events.filter(placed).sort("user_id", "timestamp", "order")
    begins = (pl.col("timestamp").diff() >= gap).fill_null(True).over("user_id")
    start = pl.when(begins).then(pl.col("timestamp")).forward_fill().over("user_id")
    visits = visits.with_columns(start.alias("start"))
    visit = ("user_id", "start")
    going_on = pl.coalesce(pl.col("session_id").forward_fill(), pl.col("session_id").backward_fill()).over(visit)
    # Named by its start, so that a visit keeps its name when the log is read again with more days.
    name = pl.concat_str("user_id", pl.col("start").dt.epoch("us"), separator="-")
    named = visits.with_columns(pl.coalesce("session_id", going_on, name).alias("session_id")).drop("start")
    return pl.concat([events.filter(~placed), named]).sort("order")


def rank_sessions(events: pl.LazyFrame) -> pl.DataFrame:
    """One row a session, in the order in which they began: session_id, timed, rank, and before.

    `timed` is whether each of its events has a timestamp, `before` the number of events in earlier sessions.
    """
    sessions = events.group_by("session_id").agg(
        pl.col("timestamp").min().alias("begun"),
        pl.col("order").min().alias("first"),
        pl.col("timestamp").is_not_null().all().alias("timed"),
        pl.len().alias("events"),
    )
    ranked = sessions.collect(engine="streaming").sort("begun", "first", nulls_last=[True, False])
    before = pl.col("events").cast(pl.Int64).cum_sum() - pl.col("events")
    return ranked.select("session_id", "timed", before.alias("before")).with_row_index("rank")


def order_sessions(events: pl.DataFrame) -> pl.DataFrame:
    """`events` by session, and within one by timestamp, then the log's own position, then the order in the log.

    Timestamps are not used in a session where one event lacks it.

    Args:
        events: of whole sessions, with `rank` and `timed` of `rank_sessions`.
    """
    timestamp = pl.when("timed").then("timestamp")
    ordered = events.sort("rank", timestamp, "position", "order")
    return ordered.drop("rank", "timed")


def are_repeated(events: pl.DataFrame) -> pl.Series:
    """Of ordered events, which have the action and product or phrase of the one just before them in their session."""
    fields = ("session_id", "action", "product_id", "query")
    same = pl.all_horizontal(pl.col(field).eq_missing(pl.col(field).shift(1)) for field in fields)
    return events.select(same & (pl.int_range(pl.len()) > 0)).to_series()


def number_interactions(events: pl.DataFrame) -> pl.DataFrame:
    """Ordered events with `position` counted from 0 in each session."""
    session, index = pl.col("session_id"), pl.int_range(pl.len(), dtype=pl.Int32)
    first = pl.when(session.ne_missing(session.shift(1)) | (index == 0)).then(index).forward_fill()
    return events.with_columns((index - first).alias("position"))


def named_sessions(events: pl.LazyFrame, gap: timedelta, folder: Path, *, rows: int = ROWS) -> pl.LazyFrame:
    """`events` with a session_id each, see `split_sessions`, in any order.

    Args:
        folder: for temporary files.
        rows: about how many events are in memory at once, at least all those of a user.
    """
    loose = pl.col("session_id").is_null()
    count, total = events.select(loose.sum(), pl.len()).collect(engine="streaming").row(0)
    if not count:
        return events
    visits = events.filter(loose)
    if count < total:
        visits = pl.concat([visits, _around(events, loose)], how="diagonal")
    parts = parts_of(visits, pl.col("user_id"), -(-total // rows), folder / "users")
    split = [
        write_aside(_split_loose(part, gap), folder / f"named-{number}.parquet") for number, part in enumerate(parts)
    ]
    return pl.concat([events.filter(~loose), *split])


def _around(events: pl.LazyFrame, loose: pl.Expr) -> pl.LazyFrame:
    """What is needed of the events that have a session, of people who also have events that lack one."""
    people = events.filter(loose).select("user_id").unique()
    named = join_short(events.filter(~loose & pl.col("timestamp").is_not_null()), people, "user_id", "semi")
    return named.select("session_id", "user_id", "timestamp", "order", pl.lit(True).alias("around"))


def _split_loose(events: pl.DataFrame, gap: timedelta) -> pl.DataFrame:
    """The events that lacked a session, with one."""
    split = split_sessions(events, gap)
    return split.filter(pl.col("around").is_null()).drop("around") if "around" in split.columns else split


def ordered_sessions(events: pl.LazyFrame, folder: Path, *, rows: int = ROWS) -> Iterator[pl.DataFrame]:
    """The events by session (`rank_sessions`) and in order within each (`order_sessions`), whole sessions at a time.

    Args:
        folder: for temporary files.
        rows: about how many events are in memory at once, at least all those of a session.
    """
    sessions = rank_sessions(events).with_columns((pl.col("before") // rows).alias("part")).drop("before")
    joined = join_short(events, sessions.lazy(), "session_id", "inner")
    for part in numbered_parts(joined, sessions["part"].n_unique(), folder / "sessions"):
        yield order_sessions(part)
