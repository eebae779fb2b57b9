"""The products of a log: what its events say of them, joined with catalogues."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from ubm_embed.data.logs.event_table import PRODUCT_FIELDS
from ubm_embed.data.logs.parts import join_short
from ubm_embed.data.logs.report import EXAMPLES, Tally
from ubm_embed.data.mappings.json_text import joined_lists
from ubm_embed.data.products import PRODUCT_SCHEMA, has_text
from ubm_embed.data.texts import clean_texts

_ORDERS = 1 << 40  # the `order` of an event is below this
_ROW = "row of catalogue"  # no shop names a column like this


def products_of(events: pl.LazyFrame, tally: Tally) -> pl.DataFrame:
    """The products of events on disk, by id: product_id and the last value of each of `PRODUCT_FIELDS`, cleaned."""
    with_text = events.filter(pl.any_horizontal(pl.col(*PRODUCT_FIELDS).is_not_null()))
    ids = events.select("product_id").drop_nulls().unique().collect(engine="streaming")
    seen = ids.join(last_seen(with_text), on="product_id", how="left").sort("product_id")
    categories = joined_lists(seen["category"], " > ")
    cleaned = seen.with_columns(clean_texts(seen["title"]), clean_texts(categories), _clean_attributes(seen))
    for name in ("title", "category"):
        _count_changed(name, seen, cleaned, events, tally)
    return cleaned


def last_seen(events: pl.LazyFrame) -> pl.DataFrame:
    """`product_id` and the last value that is not null of each of `PRODUCT_FIELDS`, by timestamp, then `order`.

    Reads `events` twice, to keep only the few rows with a last value in memory, and not every text ever seen.
    """
    latest = events.group_by("product_id").agg(
        pl.when(pl.col(name).is_not_null()).then(_moment()).max().alias(name) for name in PRODUCT_FIELDS
    )
    moments = latest.unpivot(PRODUCT_FIELDS, index="product_id", value_name="moment").drop_nulls("moment")
    orders = moments.select((pl.col("moment") % _ORDERS).cast(pl.Int64).alias("order")).unique()
    needed = events.select("product_id", "timestamp", *PRODUCT_FIELDS, pl.col("order").cast(pl.Int64))
    last = [pl.col(name).sort_by("timestamp", "order").drop_nulls().last() for name in PRODUCT_FIELDS]
    rows = join_short(needed, orders, "order", "semi")
    return rows.collect(engine="streaming").group_by("product_id").agg(last)


def _moment() -> pl.Expr:
    """One number that orders events by timestamp, those without one first, then by `order`."""
    microseconds = pl.col("timestamp").dt.epoch("us").cast(pl.Int128) + pl.lit(1 << 63, pl.Int128)
    return microseconds.fill_null(0) * _ORDERS + pl.col("order").cast(pl.Int128)


def _clean_attributes(products: pl.DataFrame) -> pl.Series:
    attributes = products["attributes"]
    pairs = products.select("attributes").with_row_index("product").explode("attributes").unnest("attributes")
    cleaned = pairs.with_columns(clean_texts(pairs["name"]), clean_texts(pairs["value"]))
    if cleaned.equals(pairs):
        return attributes
    filled = (
        cleaned.drop_nulls().group_by("product", maintain_order=True).agg(pl.struct("name", "value").alias("pairs"))
    )
    numbered = (
        attributes.to_frame().with_row_index("product").join(filled, on="product", how="left", maintain_order="left")
    )
    return numbered["pairs"].alias("attributes")


def _count_changed(name: str, seen: pl.DataFrame, cleaned: pl.DataFrame, events: pl.LazyFrame, tally: Tally) -> None:
    changed = seen.filter(seen[name].ne_missing(cleaned[name]))
    if changed.is_empty():
        return
    tally.changed[name] += changed.height
    for text in changed[name].head(EXAMPLES):
        first = events.filter(pl.col(name) == text).select("order").head(1).collect(engine="streaming")
        tally.show(f"changed {name}", {first.item(): text})


def join_products(catalogues: Sequence[pl.DataFrame], seen: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Products with text, with values of the first catalogue that has them, and the number of products without."""
    products, *others = [*catalogues, seen.drop("price") if seen["price"].null_count() == seen.height else seen]
    for other in others:
        products = _fill(products, other)
    products = products.select(*PRODUCT_SCHEMA, pl.exclude(*PRODUCT_SCHEMA))
    with_text = products.filter(has_text()).with_columns(pl.col("attributes").fill_null([]))
    return with_text, products.height - with_text.height


def _fill(products: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """`products`, with missing values, further products and further columns taken from `other`."""
    shared = [name for name in products.columns if name in other.columns and name != "product_id"]
    joined = products.with_row_index(_ROW).join(other, on="product_id", how="full", coalesce=True, suffix=" of other")
    filled = [pl.coalesce(_filled(name, products), f"{name} of other").alias(name) for name in shared]
    ordered = joined.with_columns(filled).sort(_ROW, "product_id", nulls_last=True)
    return ordered.drop(_ROW, *(f"{name} of other" for name in shared))


def _filled(name: str, products: pl.DataFrame) -> pl.Expr:
    """The column, with null for an empty text or list."""
    if isinstance(products.schema[name], pl.List):
        return pl.when(pl.col(name).list.len() > 0).then(pl.col(name))
    if products.schema[name] == pl.String:
        return pl.when(pl.col(name).str.strip_chars() != "").then(pl.col(name))
    return pl.col(name)
