"""Events of Segment's e-commerce specification: track calls, one JSON object each."""

from __future__ import annotations

import polars as pl

from ubm_embed.data.logs.event_table import DUPLICATE, OTHER_EVENT, attribute_pairs, event_columns, text_at, time_at

ORDER = "Order Completed"
ACTION_OF = {
    "Products Searched": "search",
    "Product Viewed": "view",
    "Product Clicked": "view",
    "Product Added": "add",
    ORDER: "buy",
}
_PRODUCT = dict.fromkeys(("product_id", "sku", "name", "brand", "variant", "category", "price"), pl.String)

# How JSON is read: a price or an id may be a number or a string.
SEGMENT_SCHEMA: dict[str, pl.DataType] = {
    **dict.fromkeys(("event", "messageId", "anonymousId", "userId", "timestamp", "originalTimestamp"), pl.String()),
    "properties": pl.Struct({**_PRODUCT, "query": pl.String, "products": pl.List(pl.Struct(_PRODUCT))}),
}


def segment_events(log: pl.LazyFrame, *, first_event: int = 0) -> pl.LazyFrame:
    """The calls of one file, in `EVENT_SCHEMA`, with two columns for `drop_duplicates`: message and event.

    `event` numbers the calls from `first_event`.
    """
    schema = log.collect_schema()
    ordered = pl.col("event") == ORDER
    call = log.with_columns(
        pl.col("event").cast(pl.String).replace_strict(ACTION_OF, default=None, return_dtype=pl.String).alias("action"),
        pl.when(ordered).then(_products(schema)).alias("products"),
        time_at(schema, "timestamp").alias("timestamp"),
        time_at(schema, "originalTimestamp").alias("sent"),
        text_at(schema, "messageId").alias("message"),
    )
    numbered = call.drop("event").with_row_index("event").explode("products")
    return numbered.select(
        *_columns(numbered.collect_schema()), "message", pl.col("event").cast(pl.Int64) + first_event
    )


def drop_duplicates(calls: pl.LazyFrame) -> pl.LazyFrame:
    """The events with `dropped` set where the message came before: libraries resend what was not acknowledged."""
    first = pl.col("event").min().over("message")
    again = pl.col("message").is_not_null() & (pl.col("event") != first)
    dropped = pl.coalesce("dropped", pl.when(again).then(pl.lit(DUPLICATE)))
    return calls.with_columns(dropped.alias("dropped")).drop("message", "event")


def _products(schema: pl.Schema) -> pl.Expr:
    properties = schema.get("properties")
    names = [field.name for field in properties.fields] if isinstance(properties, pl.Struct) else []
    if "products" not in names:
        return pl.lit(None, pl.List(pl.Null))
    products = pl.col("properties").struct.field("products")
    return pl.when(products.list.len() > 0).then(products)  # `explode` would drop the event of an empty list


def _columns(schema: pl.Schema) -> list[pl.Expr]:
    def value(name: str) -> pl.Expr:
        line, call = text_at(schema, "products", name), text_at(schema, "properties", name)
        return pl.when(pl.col("action") == "buy").then(line).otherwise(call)

    return event_columns(
        # The anonymous id survives a login, so that a login does not cut a visit in two.
        user_id=pl.coalesce(text_at(schema, "anonymousId"), text_at(schema, "userId")),
        timestamp=pl.coalesce("timestamp", "sent"),
        action=pl.col("action"),
        product_id=pl.coalesce(value("product_id"), value("sku")),
        query=text_at(schema, "properties", "query"),
        title=value("name"),
        category=value("category"),
        attributes=attribute_pairs(brand=value("brand"), variant=value("variant")),
        price=value("price"),
        dropped=pl.when(pl.col("action").is_null()).then(pl.lit(OTHER_EVENT)),
    )
