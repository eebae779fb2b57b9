"""Events as Snowplow's pipeline writes them (enriched TSV, without a header), or tables with the same columns.

`unstruct_event` and `contexts` are self-describing JSON: what an entity is, its `schema` says.
https://docs.snowplow.io/docs/fundamentals/canonical-event/understanding-the-enriched-tsv-format/
"""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from ubm_embed.data.logs.event_table import (
    PROBLEM,
    ROW,
    attribute_pairs,
    event_columns,
    first_id,
    other_event,
    text_at,
    time_at,
    unread_time,
)
from ubm_embed.data.tables.formats import CsvFormat
from ubm_embed.data.tables.json_files import open_text
from ubm_embed.data.tables.json_values import LIST_SEPARATOR
from ubm_embed.data.tables.table_files import table_kind

ACTION_OF = {
    "product_view": "view",
    "list_click": "view",
    "add_to_cart": "add",
    "remove_from_cart": "remove",
    "transaction": "buy",
    # Names of events: the search of a site, and the lines of an order as they were sent before the e-commerce plugin.
    "site_search": "search",
    "transaction_item": "buy",
}
# What the plugin for Google's enhanced e-commerce says for it, which came before.
_ENHANCED_ACTIONS = {
    "detail": "product_view",
    "click": "list_click",
    "add": "add_to_cart",
    "remove": "remove_from_cart",
    "purchase": "transaction",
}
TIMES = ("derived_tstamp", "collector_tstamp")  # the first of these that an event has
_ECOMMERCE = "iglu:com.snowplowanalytics.snowplow.ecommerce/"
_ENHANCED = "iglu:com.google.analytics.enhanced-ecommerce/"
_CART = "^iglu:com.snowplowanalytics.snowplow/(add_to|remove_from)_cart/"  # before both
_PRODUCT = ("id", "name", "category", "price", "brand", "variant", "size")
_ENTITY = pl.Struct({"schema": pl.String, "data": pl.Struct(dict.fromkeys((*_PRODUCT, "transaction_id"), pl.String))})
_EVENT: dict[str, pl.DataType] = {
    **dict.fromkeys(("type", "action", "sku", "name", "category", "unitPrice"), pl.String()),
    "terms": pl.List(pl.String),
}
SNOWPLOW_SCHEMA: dict[str, pl.DataType] = {
    **dict.fromkeys(("event_id", "event_name", "user_id", "domain_userid", "domain_sessionid"), pl.String()),
    **dict.fromkeys(TIMES, pl.String()),
    **dict.fromkeys(("ti_orderid", "ti_sku", "ti_name", "ti_category", "ti_price"), pl.String()),
    "contexts": pl.Struct({"data": pl.List(_ENTITY)}),
    "unstruct_event": pl.Struct({"data": pl.Struct({"schema": pl.String, "data": pl.Struct(_EVENT)})}),
}
# Where they are among the columns of an enriched event, which has no header.
_POSITIONS = {
    3: "collector_tstamp",
    6: "event_id",
    12: "user_id",
    15: "domain_userid",
    52: "contexts",
    58: "unstruct_event",
    67: "ti_orderid",
    68: "ti_sku",
    69: "ti_name",
    70: "ti_category",
    71: "ti_price",
    123: "domain_sessionid",
    124: "derived_tstamp",
    126: "event_name",
}
_ENRICHED = CsvFormat(
    separator="\t", quote="", names=tuple(_POSITIONS.get(number, f"column {number}") for number in range(131))
)


def enriched_format(file: Path) -> CsvFormat | None:
    """How an enriched file is written; None for a table that names its columns.

    Raises:
        NotFound: no such file.
        InvalidData: not readable.
    """
    return _ENRICHED if table_kind(file) == "CSV" and not _has_header(file) else None


def snowplow_events(log: pl.LazyFrame) -> pl.LazyFrame:
    """The events of one file, in `EVENT_SCHEMA`."""
    schema = log.collect_schema()
    described, in_list = text_at(schema, "unstruct_event", "data", "schema"), pl.col("product").list.len() > 0
    kind = (
        pl.when(described.str.starts_with(_ECOMMERCE))
        .then(_of_event(schema, "type"))
        .when(described.str.starts_with(f"{_ENHANCED}action/"))
        .then(_of_event(schema, "action").replace_strict(_ENHANCED_ACTIONS, default=None, return_dtype=pl.String))
    )
    name = pl.coalesce(kind, text_at(schema, "event_name"))
    event = log.with_columns(
        name.alias("name"),
        name.replace_strict(ACTION_OF, default=None, return_dtype=pl.String).alias("action"),
        (kind.is_null() & (name == "transaction")).alias("is_head"),
        described.str.contains(_CART).alias("is_cart"),
        pl.coalesce(text_at(schema, name) for name in TIMES).alias("time"),
        # The words of a search are a list.
        _of_event(schema, "terms").str.replace_all(LIST_SEPARATOR, " ", literal=True).alias("query"),
        _entities(schema, f"^({_ECOMMERCE}product|{_ENHANCED}productFieldObject)/").alias("product"),
        _entities(schema, f"^{_ECOMMERCE}transaction/").list.first().alias("order"),
        _entities(schema, f"^{_ENHANCED}actionFieldObject/").list.first().alias("enhanced"),
    ).with_columns(
        # The lines of an order of old are events of their own.
        pl.when(~(pl.col("is_head") & ~in_list.fill_null(False)).fill_null(False)).then("action").alias("action")
    )
    # A list that was shown has products as well. `explode` would drop the event of an empty list.
    acted_on = pl.col("action").is_not_null() & in_list
    item = event.with_columns(pl.when(acted_on).then("product")).explode("product")
    return item.select(_columns(item.collect_schema()))


def _of_event(schema: pl.Schema, name: str) -> pl.Expr:
    """A field of the event's own data."""
    return text_at(schema, "unstruct_event", "data", "data", name)


def _entities(schema: pl.Schema, pattern: str) -> pl.Expr:
    """The data of the entities whose schema matches."""
    if "contexts" not in schema:
        return pl.lit(None, pl.List(pl.Struct(dict.fromkeys((*_PRODUCT, "transaction_id"), pl.String))))
    is_one = pl.element().struct.field("schema").str.contains(pattern)
    data = pl.element().filter(is_one.fill_null(False)).struct.field("data")
    return pl.col("contexts").struct.field("data").list.eval(data)


def _has_header(file: Path) -> bool:
    with open_text(file) as lines:
        return "event_id" in re.split(r"[\t,;|]", lines.readline(1 << 20).replace('"', "").lower())


def _columns(schema: pl.Schema) -> list[pl.Expr]:
    def product(entity: str, line: str, cart: str) -> pl.Expr:
        in_cart = pl.when("is_cart").then(_of_event(schema, cart))
        return pl.coalesce(text_at(schema, "product", entity), text_at(schema, line), in_cart)

    return event_columns(
        session_id=text_at(schema, "domain_sessionid"),
        user_id=text_at(schema, "user_id"),
        anonymous_id=text_at(schema, "domain_userid"),
        timestamp=time_at(schema, "time"),
        unread_timestamp=unread_time(schema, "time"),
        action=pl.col("action"),
        product_id=product("id", "ti_sku", "sku"),
        query=pl.col("query"),
        title=product("name", "ti_name", "name"),
        category=product("category", "ti_category", "category"),
        attributes=attribute_pairs(**{name: text_at(schema, "product", name) for name in ("brand", "variant", "size")}),
        price=product("price", "ti_price", "unitPrice"),
        message_id=text_at(schema, "event_id"),
        order_id=first_id(
            text_at(schema, "order", "transaction_id"), text_at(schema, "enhanced", "id"), text_at(schema, "ti_orderid")
        ),
        row=pl.col(ROW),
        problem=pl.col(PROBLEM),
        dropped=other_event(pl.col("name").is_not_null()),
    )
