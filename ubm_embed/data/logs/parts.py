"""Events of any number put in order, some whole sessions at a time: what does not fit in memory lies on disk.

What grows in memory with a log is a name and a few numbers of each session; never all events.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import polars as pl

from ubm_embed.data.logs.session_split import order_sessions, rank_sessions, split_sessions

ROWS = 500_000  # of a part, about: some 200 MB while it is put in order
# Files that are read once and thrown away: quick to write rather than small.
_COMPRESSION: Final = "lz4"


def write_aside(events: pl.DataFrame, file: Path) -> pl.LazyFrame:
    """The same events, from disk."""
    events.write_parquet(file, compression=_COMPRESSION)
    return pl.scan_parquet(file, glob=False)


def sink_aside(events: pl.LazyFrame, file: Path) -> pl.LazyFrame:
    """What writes the events to disk once it is collected."""
    return events.sink_parquet(file, compression=_COMPRESSION, lazy=True)


def named_sessions(events: pl.LazyFrame, gap: timedelta, folder: Path, *, rows: int = ROWS) -> pl.LazyFrame:
    """`events` with a session_id each, see `split_sessions`, in any order.

    Args:
        folder: where events may lie meanwhile.
        rows: how many are in memory at once, about; a user's are at least.
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
    """The events in the order of sessions (see `rank_sessions`) and in theirs (`order_sessions`), some sessions a part.

    Args:
        folder: where events may lie meanwhile.
        rows: how many are in memory at once, about; a session's are at least.
    """
    sessions = rank_sessions(events).with_columns((pl.col("before") // rows).alias("part")).drop("before")
    parts = sessions["part"].n_unique()
    for part in _parts(events.join(sessions.lazy(), on="session_id"), parts, folder / "sessions"):
        yield order_sessions(part)


def _parts(events: pl.LazyFrame, count: int, folder: Path) -> Iterator[pl.DataFrame]:
    """The events by their column `part`, of which there are `count` values: one after another, without that column."""
    if count < 2:
        yield events.drop("part").collect(engine="streaming")
        return
    events.sink_parquet(pl.PartitionBy(folder, key="part", include_key=False), compression=_COMPRESSION, mkdir=True)
    for part in sorted(folder.iterdir(), key=lambda path: int(path.name.removeprefix("part="))):
        yield pl.read_parquet(sorted(part.iterdir()), glob=False, hive_partitioning=False)
