"""Sessions from events: split at silence, put in order, numbered; on disk where they do not fit in memory.

With the log, memory grows by a name and a few numbers for each session, never by the events.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import polars as pl

from ubm_embed.data.logs.event_table import REPEATED

ROWS = 500_000  # of a part, about: some 200 MB while it is put in order
# For files that are read once and deleted: quick to write rather than small.
_COMPRESSION: Final = "lz4"


def split_sessions(events: pl.DataFrame, gap: timedelta) -> pl.DataFrame:
    """`events` with a session_id for those that lack one: a user's visit ends after `gap` or more without an event.

    Args:
        events: session_id, user_id, timestamp, order; where session_id is null, user_id and timestamp are not.
    """
    known = events.filter(pl.col("session_id").is_not_null())
    loose = events.filter(pl.col("session_id").is_null()).sort("user_id", "timestamp", "order")
    begins = (pl.col("timestamp").diff() >= gap).fill_null(True).over("user_id")
    start = pl.when(begins).then(pl.col("timestamp")).forward_fill().over("user_id")
    # Named by its start, so that a visit keeps its name when the log is read again with more days.
    name = pl.concat_str("user_id", start.dt.epoch("us"), separator="-")
    return pl.concat([known, loose.with_columns(name.alias("session_id"))]).sort("order")


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


def mark_repeated(events: pl.DataFrame) -> pl.DataFrame:
    """Ordered events with `dropped` set where an event has the action and product or phrase of the one before it."""
    fields = ("session_id", "action", "product_id", "query")
    same = pl.all_horizontal(pl.col(field).eq_missing(pl.col(field).shift(1)) for field in fields)
    repeated = same & (pl.int_range(pl.len()) > 0)
    return events.with_columns(pl.when(repeated).then(pl.lit(REPEATED)).alias("dropped"))


def number_interactions(events: pl.DataFrame) -> pl.DataFrame:
    """Ordered events with `position` counted from 0 in each session."""
    session, index = pl.col("session_id"), pl.int_range(pl.len(), dtype=pl.Int32)
    first = pl.when(session.ne_missing(session.shift(1)) | (index == 0)).then(index).forward_fill()
    return events.with_columns((index - first).alias("position"))


def write_aside(events: pl.DataFrame, file: Path) -> pl.LazyFrame:
    """Write the events to disk; returns them as a scan of the file."""
    events.write_parquet(file, compression=_COMPRESSION)
    return pl.scan_parquet(file, glob=False)


def sink_aside(events: pl.LazyFrame, file: Path) -> pl.LazyFrame:
    """A frame that writes the events to disk when it is collected."""
    return events.sink_parquet(file, compression=_COMPRESSION, lazy=True)


def named_sessions(events: pl.LazyFrame, gap: timedelta, folder: Path, *, rows: int = ROWS) -> pl.LazyFrame:
    """`events` with a session_id each, see `split_sessions`, in any order.

    Args:
        folder: for temporary files.
        rows: about how many events are in memory at once, at least all those of a user.
    """
    loose = pl.col("session_id").is_null()
    count = events.select(loose.sum()).collect(engine="streaming").item()
    if not count:
        return events
    parts = -(-count // rows)
    users = events.filter(loose).with_columns((pl.col("user_id").hash() % parts).alias("part"))
    split = [
        write_aside(split_sessions(part, gap), folder / f"named-{number}.parquet")
        for number, part in enumerate(_parts(users, parts, folder / "users"))
    ]
    return pl.concat([events.filter(~loose), *split])


def ordered_sessions(events: pl.LazyFrame, folder: Path, *, rows: int = ROWS) -> Iterator[pl.DataFrame]:
    """The events by session (`rank_sessions`) and in order within each (`order_sessions`), whole sessions at a time.

    Args:
        folder: for temporary files.
        rows: about how many events are in memory at once, at least all those of a session.
    """
    sessions = rank_sessions(events).with_columns((pl.col("before") // rows).alias("part")).drop("before")
    parts = sessions["part"].n_unique()
    for part in _parts(events.join(sessions.lazy(), on="session_id"), parts, folder / "sessions"):
        yield order_sessions(part)


def _parts(events: pl.LazyFrame, count: int, folder: Path) -> Iterator[pl.DataFrame]:
    """The events of each value of the column `part`, in order and without that column; `count` of them."""
    if count < 2:
        yield events.drop("part").collect(engine="streaming")
        return
    events.sink_parquet(pl.PartitionBy(folder, key="part", include_key=False), compression=_COMPRESSION, mkdir=True)
    for part in sorted(folder.iterdir(), key=lambda path: int(path.name.removeprefix("part="))):
        yield pl.read_parquet(sorted(part.iterdir()), glob=False, hive_partitioning=False)
