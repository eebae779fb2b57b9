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


def order_sessions(events: pl.DataFrame) -> pl.DataFrame:
    """`events` by session, and within one by timestamp, then the log's own position, then place in the log.

    Sessions stand in the order in which they began. Where one event of a session has no timestamp, the others' do not
    order it.
    """
    timed = pl.col("timestamp").is_not_null().all().over("session_id")
    timestamp = pl.when(timed).then(pl.col("timestamp"))
    begun = pl.col("timestamp").min().over("session_id")
    first = pl.col("order").min().over("session_id")
    return events.sort(begun, first, timestamp, "position", "order", nulls_last=[True, False, False, False, False])


def mark_repeated(events: pl.DataFrame) -> pl.DataFrame:
    """Ordered events with `dropped` set where action and product or phrase are those of the event just before."""
    fields = ("session_id", "action", "product_id", "query")
    same = pl.all_horizontal(pl.col(field).eq_missing(pl.col(field).shift(1)) for field in fields)
    repeated = same & (pl.int_range(pl.len()) > 0)
    return events.with_columns(pl.when(repeated).then(pl.lit(REPEATED)).alias("dropped"))


def number_interactions(events: pl.DataFrame) -> pl.DataFrame:
    """Ordered events with `position` counted from 0 in each session."""
    return events.with_columns(pl.int_range(pl.len(), dtype=pl.Int32).over("session_id").alias("position"))
