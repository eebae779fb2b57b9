"""Events that a log has twice: sent again, exported to two tables, or an order page that was loaded again."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ubm_embed.data.logs.event_table import DUPLICATE_MESSAGE, DUPLICATE_ORDER
from ubm_embed.data.logs.parts import ROWS, join_short, parts_of
from ubm_embed.data.logs.report import Tally

_ROWS_A_FILE = 1 << 40  # the rows of a file are fewer


def without_duplicates(events: pl.LazyFrame, folder: Path, tally: Tally, *, rows: int = 4 * ROWS) -> pl.LazyFrame:
    """The events without those that came before; these are counted.

    An event came before if another row has its `message_id`; a product of a purchase, if it is in another row with the
    same `order_id`. The earliest counts; one with a time and a session of its own before others. Without such ids
    nothing is read but these two columns.

    Args:
        events: on disk.
        folder: for temporary files.
        rows: about how many events with such an id are in memory at once.
    """
    message = pl.col("message_id").is_not_null()
    order = pl.col("order_id").is_not_null() & (pl.col("action") == "buy")
    counts = events.select(message.sum().alias("message"), order.sum().alias("order")).collect(engine="streaming")
    messages, orders = counts.row(0)
    if messages:
        again = _repeated(events.filter(message), ["message_id"], -(-messages // rows), folder / "messages")
        events = _dropped(events, again, DUPLICATE_MESSAGE, tally)
    if orders:
        keys = ["order_id", "product_id"]
        again = _repeated(events.filter(order), keys, -(-orders // rows), folder / "orders")
        events = _dropped(events, again, DUPLICATE_ORDER, tally)
    return events


def _repeated(events: pl.LazyFrame, keys: list[str], parts: int, folder: Path) -> pl.Series:
    """The `order` of the events that are in another row than the one that counts of those with their keys."""
    row = (pl.col("file").cast(pl.Int64) * _ROWS_A_FILE + pl.col("row")).alias("event")
    # The copy that a shop's server sends is in no session, that of the browser is.
    loose = [pl.col(name).is_null().alias(f"no {name}") for name in ("timestamp", "session_id")]
    needed = events.select(*keys, "timestamp", "order", row, *loose)
    again = [
        part.sort("no timestamp", "no session_id", "timestamp", "event")
        .filter(pl.col("event") != pl.col("event").first().over(keys))
        .get_column("order")
        for part in parts_of(needed, pl.struct(keys), parts, folder)
    ]
    return pl.concat(again)


def _dropped(events: pl.LazyFrame, orders: pl.Series, reason: str, tally: Tally) -> pl.LazyFrame:
    if orders.is_empty():
        return events
    tally.drop(reason, orders)
    return join_short(events, orders.to_frame("order").lazy(), "order", "anti")
