"""Events of Segment's e-commerce specification: track calls, one JSON object each. RudderStack's are the same."""

from __future__ import annotations

import polars as pl
from polars.datatypes import DataTypeClass

from ubm_embed.data.logs.event_names import SEGMENT_ACTIONS, SEGMENT_ORDER, SEGMENT_OTHER_CALLS, SEGMENT_TIMES
from ubm_embed.data.logs.event_table import (
    PROBLEM,
    ROW,
    attribute_pairs,
    event_columns,
    first_id,
    other_event,
    text_at,
    time_at,
)

_PRODUCT = dict.fromkeys(("product_id", "sku", "name", "brand", "variant", "category", "price"), pl.String)
_PROPERTIES: dict[str, pl.DataType | DataTypeClass] = {
    **dict.fromkeys((*_PRODUCT, "query", "order_id", "orderId"), pl.String),
    "products": pl.List(pl.Struct(_PRODUCT)),
}

# How JSON is read: a price or an id may be a number or a string.
SEGMENT_SCHEMA: dict[str, pl.DataType] = {
    **dict.fromkeys(("type", "event", "messageId", "anonymousId", "userId", *SEGMENT_TIMES), pl.String()),
    "properties": pl.Struct(_PROPERTIES),
}


def segment_events(log: pl.LazyFrame) -> pl.LazyFrame:
    """The calls of one file, in `EVENT_SCHEMA`."""
    schema = log.collect_schema()
    action = pl.col("event").cast(pl.String).replace_strict(SEGMENT_ACTIONS, default=None, return_dtype=pl.String)
    call = log.with_columns(
        action.alias("action"), pl.when(pl.col("event") == SEGMENT_ORDER).then(_products(schema)).alias("products")
    )
    line = call.explode("products")
    return line.select(_columns(line.collect_schema()))


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

    sent = pl.coalesce(time_at(schema, name) for name in SEGMENT_TIMES)
    return event_columns(
        user_id=text_at(schema, "userId"),
        anonymous_id=text_at(schema, "anonymousId"),
        timestamp=sent,
        unread_timestamp=pl.when(sent.is_null()).then(pl.coalesce(text_at(schema, name) for name in SEGMENT_TIMES)),
        action=pl.col("action"),
        product_id=first_id(value("product_id"), value("sku")),
        query=text_at(schema, "properties", "query"),
        title=value("name"),
        category=value("category"),
        attributes=attribute_pairs(brand=value("brand"), variant=value("variant")),
        price=value("price"),
        message_id=text_at(schema, "messageId"),
        order_id=first_id(*(text_at(schema, "properties", name) for name in ("order_id", "orderId"))),
        row=pl.col(ROW),
        problem=pl.col(PROBLEM),
        dropped=other_event(pl.col("event").is_not_null() | text_at(schema, "type").is_in(SEGMENT_OTHER_CALLS)),
    )
