"""What a log said last about each product."""

from __future__ import annotations

import polars as pl

from ubm_embed.data.logs.event_table import PRODUCT_FIELDS

_ORDERS = 1 << 40  # places in a log are below this


def last_seen(events: pl.LazyFrame) -> pl.DataFrame:
    """`product_id` and the last value that is not null of each of `PRODUCT_FIELDS`, by timestamp, then `order`.

    Reads `events` twice, to keep in memory the few rows that hold a last value, and not every text that was ever seen.
    """
    latest = events.group_by("product_id").agg(
        pl.when(pl.col(name).is_not_null()).then(_moment()).max().alias(name) for name in PRODUCT_FIELDS
    )
    moments = latest.unpivot(PRODUCT_FIELDS, index="product_id", value_name="moment").drop_nulls("moment")
    kept = moments.select((pl.col("moment") % _ORDERS).cast(pl.Int64).alias("order")).unique()
    rows = events.with_columns(pl.col("order").cast(pl.Int64)).join(kept, on="order", how="semi")
    last = [pl.col(name).sort_by("timestamp", "order").drop_nulls().last() for name in PRODUCT_FIELDS]
    return rows.collect(engine="streaming").group_by("product_id").agg(last)


def _moment() -> pl.Expr:
    """One number that orders events by timestamp, those without before all others, then by place."""
    microseconds = pl.col("timestamp").dt.epoch("us").cast(pl.Int128) + pl.lit(1 << 63, pl.Int128)
    return microseconds.fill_null(0) * _ORDERS + pl.col("order").cast(pl.Int128)
