"""Events of a GA4 export in BigQuery's schema: `event_params` and `items` are repeated records."""

from __future__ import annotations

import polars as pl

from ubm_embed.data.ids import clean_ids
from ubm_embed.data.logs.event_names import GA4_ACTIONS, GA4_CATEGORIES, GA4_PLACEHOLDERS
from ubm_embed.data.logs.event_table import (
    PROBLEM,
    ROW,
    attribute_pairs,
    event_columns,
    first_id,
    other_event,
    text_at,
    text_in,
    time_at,
    unread_time,
)

_PARAMETER_VALUES = ("string_value", "int_value", "double_value", "float_value")

_PARAMETER = pl.Struct({"key": pl.String, "value": pl.Struct(dict.fromkeys(_PARAMETER_VALUES, pl.String))})
_ITEM = pl.Struct(
    dict.fromkeys(("item_id", "item_name", "item_brand", "item_variant", "price", *GA4_CATEGORIES), pl.String)
)
# In this order they say where an event was in its visit: the page, the batch that the page sent, the event in it.
_BATCH = {"batch_page_id": 41, "batch_ordering_id": 11, "batch_event_index": 11}  # with bits that hold them
# Of two rows with all of these, the order and the items in common one is a copy: a day may be in two tables.
_IDENTITY = ("stream_id", "user_pseudo_id", "user_id", "event_timestamp", "event_name", *_BATCH, "event_params")
# How JSON is read: integers may be numbers or strings.
GA4_SCHEMA: dict[str, pl.DataType] = {
    **dict.fromkeys(("event_name", "event_timestamp", "user_pseudo_id", "user_id", "stream_id", *_BATCH), pl.String()),
    "event_params": pl.List(_PARAMETER),
    "ecommerce": pl.Struct({"transaction_id": pl.String}),
    "items": pl.List(_ITEM),
}


def ga4_events(log: pl.LazyFrame) -> pl.LazyFrame:
    """The events of one export, in `EVENT_SCHEMA`."""
    schema = log.collect_schema()
    action = pl.col("event_name").cast(pl.String).replace_strict(GA4_ACTIONS, default=None, return_dtype=pl.String)
    order = first_id(text_at(schema, "ecommerce", "transaction_id"), _parameter(schema, "transaction_id"))
    identity = pl.struct(
        *(name for name in _IDENTITY if name in schema), order.alias("order"), _item_ids(schema).alias("item_ids")
    )
    event = log.select(
        action.alias("action"),
        pl.col("event_name").is_not_null().alias("named"),
        text_at(schema, "user_id").alias("user_id"),
        text_at(schema, "user_pseudo_id").alias("anonymous_id"),
        time_at(schema, "event_timestamp").alias("timestamp"),
        unread_time(schema, "event_timestamp").alias("unread_timestamp"),
        _position(schema).alias("position"),
        _parameter(schema, "ga_session_id").alias("session"),
        _parameter(schema, "search_term").alias("query"),
        pl.when(action.is_not_null()).then(identity).hash().cast(pl.String).alias("message_id"),
        order.alias("order_id"),
        (pl.col("items") if "items" in schema else pl.lit(None, GA4_SCHEMA["items"])).alias("items"),
        ROW,
        PROBLEM,
    )
    # A page of search results lists products as well, but the shopper did nothing with them.
    # An empty list becomes null, since `explode` would drop its event.
    acted_on = (pl.col("action") != "search") & (pl.col("items").list.len() > 0)
    item = event.with_columns(pl.when(acted_on).then(pl.col("items")).alias("items")).explode("items")
    return item.select(_columns(item.collect_schema()))


def _columns(schema: pl.Schema) -> list[pl.Expr]:
    def item(name: str) -> pl.Expr:
        return _without_placeholders(text_at(schema, "items", name))

    category = pl.concat_str([item(name) for name in GA4_CATEGORIES], separator=" > ", ignore_nulls=True)
    # The numbers of sessions are a visitor's own.
    visitor = clean_ids(first_id(pl.col("anonymous_id"), pl.col("user_id")))
    same = ("user_id", "anonymous_id", "timestamp", "unread_timestamp", "position", "action", "query", "message_id")
    return event_columns(
        **{name: pl.col(name) for name in (*same, "order_id")},
        row=pl.col(ROW),
        problem=pl.col(PROBLEM),
        session_id=pl.concat_str([visitor, clean_ids(pl.col("session"))], separator="-"),
        product_id=text_at(schema, "items", "item_id"),
        title=item("item_name"),
        category=pl.when(category != "").then(category),
        attributes=attribute_pairs(brand=item("item_brand"), variant=item("item_variant")),
        price=item("price"),
        dropped=other_event(pl.col("named")),
    )


def _position(schema: pl.Schema) -> pl.Expr:
    """One number from the three of `_BATCH`; null without the first."""
    position = pl.lit(0, pl.Int64)
    for name, bits in _BATCH.items():
        value = text_at(schema, name).cast(pl.Int64, strict=False).clip(0, 2**bits - 1)
        position = position * 2**bits + (value if name == "batch_page_id" else value.fill_null(0))
    return position


def _item_ids(schema: pl.Schema) -> pl.Expr:
    """The ids of the items. Their other fields may be filled later than a copy was made, such as prices in dollars."""
    items = schema.get("items")
    if not isinstance(items, pl.List):
        return pl.lit(None)
    return pl.col("items").list.eval(text_in(pl.element(), items.inner, "item_id"))


def _without_placeholders(text: pl.Expr) -> pl.Expr:
    return pl.when(~text.str.strip_chars().is_in(GA4_PLACEHOLDERS)).then(text)


def _parameter(schema: pl.Schema, key: str) -> pl.Expr:
    """The value of an event parameter as text: a search for `1984` is exported as an integer."""
    parameters = schema.get("event_params")
    if not isinstance(parameters, pl.List):
        return pl.lit(None, pl.String)
    entry, dtype = pl.element(), parameters.inner
    values = [_without_placeholders(text_in(entry, dtype, "value", name)) for name in _PARAMETER_VALUES]
    value = pl.coalesce(values).filter(text_in(entry, dtype, "key") == key)
    return pl.col("event_params").list.eval(value).list.first()
