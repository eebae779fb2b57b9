"""Visits of Matomo as its Live API gives them (Live.getLastVisitsDetails, JSON): a list of actions each.

https://developer.matomo.org/api-reference/reporting-api#Live
"""

from __future__ import annotations

import polars as pl
from polars.datatypes import DataTypeClass

from ubm_embed.data.logs.event_table import PROBLEM, ROW, event_columns, other_event, text_at, time_at, unread_time

_ORDER, _CART = "ecommerceOrder", "ecommerceAbandonedCart"
# `categories` joins the levels; older versions have the first one alone.
_ITEM = dict.fromkeys(("itemSKU", "itemName", "itemCategory", "categories", "price"), pl.String)
_ACTION: dict[str, DataTypeClass | pl.DataType] = {
    **dict.fromkeys(("type", "timestamp", "pageId", "siteSearchKeyword", "orderId"), pl.String),
    **dict.fromkeys(("productViewSku", "productViewName", "productViewPrice"), pl.String),
    "productViewCategories": pl.List(pl.String),
    "itemDetails": pl.List(pl.Struct(_ITEM)),
}

# How JSON is read: numbers may be texts.
MATOMO_SCHEMA: dict[str, pl.DataType] = {
    **dict.fromkeys(("idVisit", "visitorId", "userId"), pl.String()),
    "actionDetails": pl.List(pl.Struct(_ACTION)),
}


def matomo_events(log: pl.LazyFrame) -> pl.LazyFrame:
    """The actions of the visits of one file, in `EVENT_SCHEMA`.

    A cart that was left says what was in it last, which is all that Matomo keeps of additions.
    """
    # `explode` would drop a visit without actions.
    actions = pl.when(pl.col("actionDetails").list.len() > 0).then("actionDetails")
    done = log.with_columns(actions.alias("done")).explode("done")
    schema = done.collect_schema()
    kind = text_at(schema, "done", "type")
    action = (
        pl.when(kind == _ORDER)
        .then(pl.lit("buy"))
        .when(kind == _CART)
        .then(pl.lit("add"))
        .when(kind == "search")
        .then(pl.lit("search"))
        .when(text_at(schema, "done", "productViewSku").is_not_null())
        .then(pl.lit("view"))
    )
    items = pl.col("done").struct.field("itemDetails")
    item = done.with_columns(
        action.alias("action"),
        text_at(schema, "done", "timestamp").alias("time"),
        pl.when(kind.is_in([_ORDER, _CART]) & (items.list.len() > 0)).then(items).alias("item"),
    ).explode("item")
    return item.select(_columns(item.collect_schema()))


def _columns(schema: pl.Schema) -> list[pl.Expr]:
    def done(name: str) -> pl.Expr:
        return text_at(schema, "done", name)

    def product(viewed: str, item: str) -> pl.Expr:
        return pl.when(pl.col("action") == "view").then(done(viewed)).otherwise(text_at(schema, "item", item))

    when = pl.concat_str([done("type"), pl.col("time")], separator="@")
    return event_columns(
        session_id=text_at(schema, "idVisit"),
        user_id=text_at(schema, "userId"),
        anonymous_id=text_at(schema, "visitorId"),
        timestamp=time_at(schema, "time"),
        unread_timestamp=unread_time(schema, "time"),
        action=pl.col("action"),
        product_id=product("productViewSku", "itemSKU"),
        query=done("siteSearchKeyword"),
        title=product("productViewName", "itemName"),
        category=pl.coalesce(product("productViewCategories", "categories"), text_at(schema, "item", "itemCategory")),
        price=product("productViewPrice", "price"),
        # Pages of the API overlap when visits arrive between two of them.
        message_id=pl.concat_str([text_at(schema, "idVisit"), pl.coalesce(done("pageId"), when)], separator="-"),
        order_id=done("orderId"),
        row=pl.col(ROW),
        problem=pl.col(PROBLEM),
        dropped=other_event(),
    )
