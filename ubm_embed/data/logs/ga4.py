"""Events of a GA4 export in BigQuery's schema: `event_params` and `items` are repeated records."""

from __future__ import annotations

import polars as pl

from ubm_embed.data.logs.event_table import OTHER_EVENT, attribute_pairs, event_columns, text_at, text_in, time_at

ACTION_OF = {
    "view_item": "view",
    "select_item": "view",
    "add_to_cart": "add",
    "purchase": "buy",
    "search": "search",
    "view_search_results": "search",
}
_CATEGORIES = ("item_category", "item_category2", "item_category3", "item_category4", "item_category5")
_PARAMETER_VALUES = ("string_value", "int_value", "double_value", "float_value")
# What an export has where the shop sent nothing or a value was removed.
_PLACEHOLDERS = ("(not set)", "(data deleted)", "<Other>")

_PARAMETER = pl.Struct({"key": pl.String, "value": pl.Struct(dict.fromkeys(_PARAMETER_VALUES, pl.String))})
_ITEM = pl.Struct(
    dict.fromkeys(("item_id", "item_name", "item_brand", "item_variant", "price", *_CATEGORIES), pl.String)
)
# How JSON is read: integers may be numbers or strings.
GA4_SCHEMA: dict[str, pl.DataType] = {
    "event_name": pl.String(),
    "event_timestamp": pl.String(),
    "user_pseudo_id": pl.String(),
    "event_params": pl.List(_PARAMETER),
    "items": pl.List(_ITEM),
}


def ga4_events(log: pl.LazyFrame) -> pl.LazyFrame:
    """The events of one export, in `EVENT_SCHEMA`."""
    schema = log.collect_schema()
    action = pl.col("event_name").cast(pl.String).replace_strict(ACTION_OF, default=None, return_dtype=pl.String)
    event = log.select(
        action.alias("action"),
        text_at(schema, "user_pseudo_id").alias("user_id"),
        time_at(schema, "event_timestamp").alias("timestamp"),
        _parameter(schema, "ga_session_id").alias("session"),
        _parameter(schema, "search_term").alias("query"),
        (pl.col("items") if "items" in schema else pl.lit(None, GA4_SCHEMA["items"])).alias("items"),
    )
    # A page of search results lists products as well, but the shopper did nothing with them.
    # An empty list becomes null, since `explode` would drop its event.
    acted_on = pl.col("action").is_in(["view", "add", "buy"]) & (pl.col("items").list.len() > 0)
    item = event.with_columns(pl.when(acted_on).then(pl.col("items")).alias("items")).explode("items")
    return item.select(_columns(item.collect_schema()))


def _columns(schema: pl.Schema) -> list[pl.Expr]:
    def item(name: str) -> pl.Expr:
        return text_at(schema, "items", name, placeholders=_PLACEHOLDERS)

    category = pl.concat_str([item(name) for name in _CATEGORIES], separator=" > ", ignore_nulls=True)
    return event_columns(
        session_id=pl.concat_str(["user_id", "session"], separator="-"),
        user_id=pl.col("user_id"),
        timestamp=pl.col("timestamp"),
        action=pl.col("action"),
        product_id=item("item_id"),
        query=pl.col("query"),
        title=item("item_name"),
        category=pl.when(category != "").then(category),
        attributes=attribute_pairs(brand=item("item_brand"), variant=item("item_variant")),
        price=item("price"),
        dropped=pl.when(pl.col("action").is_null()).then(pl.lit(OTHER_EVENT)),
    )


def _parameter(schema: pl.Schema, key: str) -> pl.Expr:
    """The value of an event parameter as text: a search for `1984` is exported as an integer."""
    parameters = schema.get("event_params")
    if not isinstance(parameters, pl.List):
        return pl.lit(None, pl.String)
    entry, dtype = pl.element(), parameters.inner
    values = [text_in(entry, dtype, "value", name, placeholders=_PLACEHOLDERS) for name in _PARAMETER_VALUES]
    value = pl.coalesce(values).filter(text_in(entry, dtype, "key") == key)
    return pl.col("event_params").list.eval(value).list.first()
