"""Sessions from events: split at silence, put in order, numbered."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from ubm_embed.data.logs.event_table import REPEATED


def split_sessions(events: pl.DataFrame, gap: timedelta) -> pl.DataFrame:
    """`events` with a session_id for those that have none: a user's visit ends with `gap` or more of silence.

    Args:
        events: session_id, user_id, timestamp, order; where session_id is null the next two are not.
    """
    known = events.filter(pl.col("session_id").is_not_null())
    loose = events.filter(pl.col("session_id").is_null()).sort("user_id", "timestamp", "order")
    begins = (pl.col("timestamp").diff() >= gap).fill_null(True).over("user_id")
    start = pl.when(begins).then(pl.col("timestamp")).forward_fill().over("user_id")
    # Named by its start, so that a log read again with more days around it gives the visit the same name.
    name = pl.concat_str("user_id", start.dt.epoch("us"), separator="-")
    return pl.concat([known, loose.with_columns(name.alias("session_id"))]).sort("order")


def rank_sessions(events: pl.LazyFrame) -> pl.DataFrame:
    """One row a session, in the order in which they began: session_id, timed, rank, and before.

    `timed` says whether each of its events has a timestamp, `before` how many events earlier sessions have.
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
    """`events` by session, and within one by timestamp, then the log's own position, then place in the log.

    Where one event of a session has no timestamp, the others' do not order it.

    Args:
        events: of whole sessions, with `rank` and `timed` of `rank_sessions`.
    """
    timestamp = pl.when("timed").then("timestamp")
    ordered = events.sort("rank", timestamp, "position", "order")
    return ordered.drop("rank", "timed")


def mark_repeated(events: pl.DataFrame) -> pl.DataFrame:
    """Ordered events with `dropped` set where action and product or phrase are those of the event just before."""
    fields = ("session_id", "action", "product_id", "query")
    same = pl.all_horizontal(pl.col(field).eq_missing(pl.col(field).shift(1)) for field in fields)
    repeated = same & (pl.int_range(pl.len()) > 0)
    return events.with_columns(pl.when(repeated).then(pl.lit(REPEATED)).alias("dropped"))


def number_interactions(events: pl.DataFrame) -> pl.DataFrame:
    """Ordered events with `position` counted from 0 in each session."""
    session, place = pl.col("session_id"), pl.int_range(pl.len(), dtype=pl.Int32)
    first = pl.when(session.ne_missing(session.shift(1)) | (place == 0)).then(place).forward_fill()
    return events.with_columns((place - first).alias("position"))
