"""Where a log shows an anonymous id and a user id together: in a row of any kind, or in two rows of one order."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ubm_embed.data.logs.event_table import LACKING, ODD_RECORD
from ubm_embed.data.logs.parts import ROWS, parts_of, write_aside

COLUMNS = ("order", "timestamp", "anonymous_id", "user_id")
# An order is sent by a browser and a server. A number that more devices send is no order's.
_MAX_DEVICES = 2


def find_sightings(events: pl.LazyFrame, folder: Path, *, rows: int = 4 * ROWS) -> pl.LazyFrame | None:
    """What events that are dropped, or are dropped as duplicates later, tell about people; None if that is nothing.

    A login, a page view or an `identify` call is no interaction, but has both ids. Where the shop's server and a
    browser send the same order, each may have one of them. Of rows that a mapping drops by a condition only those
    without an action of ours count, since others may be those of a robot. Of a log without anonymous ids nothing else
    is read.

    Args:
        events: cleaned, on disk, with those that are dropped.
        folder: for temporary files.
        rows: about how many purchases are in memory at once.

    Returns:
        `COLUMNS`, in any order. Both ids are there; a user may be written as the device is.
    """
    both = pl.all_horizontal(pl.col("anonymous_id", "user_id").is_not_null())
    dropped = pl.col("dropped")
    told = both & dropped.is_not_null() & (pl.col("action").is_null() | dropped.is_in([ODD_RECORD, *LACKING]))
    bought = dropped.is_null() & pl.col("order_id").is_not_null() & (pl.col("action") == "buy")
    used = events.select(pl.col("anonymous_id", "user_id").is_not_null().any()).collect(engine="streaming")
    if not all(used.row(0)):
        return None
    counts = events.select(told=told.any(), bought=bought.sum()).collect(engine="streaming")
    telling, orders = counts.row(0)
    found = [events.filter(told).select(COLUMNS)] if telling else []
    if orders:
        purchases = events.filter(bought).select("order_id", *COLUMNS)
        for number, part in enumerate(
            parts_of(purchases, pl.col("order_id"), -(-orders // rows), folder / "purchases")
        ):
            found.append(write_aside(_of_orders(part), folder / f"purchases-{number}.parquet"))
    return pl.concat(found) if found else None


def _of_orders(purchases: pl.DataFrame) -> pl.DataFrame:
    """The devices and the user of each order of which no row has all; none if it has several users."""
    device = pl.col("anonymous_id")
    user = pl.col("user_id").filter(pl.col("user_id").ne_missing(device))
    order = purchases.group_by("order_id").agg(
        pl.col("order").min(),
        pl.col("timestamp").min(),
        device.drop_nulls().unique(),
        user.drop_nulls().unique(),
        (device.is_null() | pl.col("user_id").is_null()).any().alias("apart"),
    )
    one = (pl.col("user_id").list.len() == 1) & pl.col("anonymous_id").list.len().is_between(1, _MAX_DEVICES)
    return order.filter(one & pl.col("apart")).explode("anonymous_id").explode("user_id").select(COLUMNS)
