"""Tables larger than memory: written aside, and read back in parts that belong together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import polars as pl

ROWS = 500_000  # of a part, about: some 200 MB while it is put in order
# For files that are read once and deleted: quick to write rather than small.
_COMPRESSION: Final = "lz4"


def write_aside(rows: pl.DataFrame, file: Path) -> pl.LazyFrame:
    """Write rows to disk; returns them as a scan of the file."""
    rows.write_parquet(file, compression=_COMPRESSION)
    return pl.scan_parquet(file, glob=False)


def sink_aside(rows: pl.LazyFrame, file: Path) -> pl.LazyFrame:
    """A frame that writes rows to disk when it is collected."""
    return rows.sink_parquet(file, compression=_COMPRESSION, lazy=True)


def join_short(
    rows: pl.LazyFrame, short: pl.LazyFrame, on: str, how: Literal["inner", "left", "semi", "anti"]
) -> pl.LazyFrame:
    """The rows, in their order, joined with a table that fits in memory."""
    # Without an order polars holds ten million rows before it chooses the side to look up in.
    return rows.join(short, on=on, how=how, maintain_order="left")


def parts_of(rows: pl.LazyFrame, key: pl.Expr, count: int, folder: Path) -> Iterator[pl.DataFrame]:
    """The rows in `count` parts or fewer, in order within each; rows with an equal key are in the same part."""
    return numbered_parts(rows.with_columns((key.hash() % max(count, 1)).alias("part")), count, folder)


def numbered_parts(rows: pl.LazyFrame, count: int, folder: Path) -> Iterator[pl.DataFrame]:
    """The rows of each value of the column `part`, in order and without that column; `count` of them or fewer."""
    if count < 2:
        yield rows.drop("part").collect(engine="streaming")
        return
    rows.sink_parquet(pl.PartitionBy(folder, key="part", include_key=False), compression=_COMPRESSION, mkdir=True)
    for part in sorted(folder.iterdir(), key=lambda path: int(path.name.removeprefix("part="))):
        yield pl.read_parquet(sorted(part.iterdir()), glob=False, hive_partitioning=False)
