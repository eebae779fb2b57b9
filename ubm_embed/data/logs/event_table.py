"""The common columns of events from any log, and the reasons why an event is dropped."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from polars.datatypes import DataTypeClass

from ubm_embed.data.tables.attributes import ATTRIBUTES
from ubm_embed.data.tables.columns import as_text
from ubm_embed.data.tables.timestamps import TIMESTAMP, as_timestamp

# Raw events, as readers give them: one row for each product of an event, texts as the file has them. `dropped` is why
# the row does not count, or null.
EVENT_SCHEMA: dict[str, pl.DataType] = {
    "session_id": pl.String(),
    "user_id": pl.String(),
    "anonymous_id": pl.String(),  # the visitor before a login
    "timestamp": TIMESTAMP,
    "unread_timestamp": pl.String(),  # a time that is none; `timestamp` is then null
    "position": pl.Int64(),
    "action": pl.String(),
    "product_id": pl.String(),
    "query": pl.String(),
    "title": pl.String(),
    "category": pl.String(),
    "attributes": ATTRIBUTES,
    "price": pl.String(),
    "message_id": pl.String(),  # events with the same one are one event
    "order_id": pl.String(),  # of a purchase
    "row": pl.Int64(),  # of the file, from 1
    "problem": pl.String(),  # what could not be read of the row
    "dropped": pl.String(),
}
CLEAN_SCHEMA: dict[str, pl.DataType] = EVENT_SCHEMA | {"price": pl.Float64()}
PRODUCT_FIELDS = ("title", "category", "attributes", "price")

OTHER_EVENT = "other event"
DUPLICATE = "duplicate message"
NO_PRODUCT = "no product id"
NO_PHRASE = "no search phrase"
NO_SESSION = "no session or user"
NO_TIMESTAMP = "no timestamp"
UNKNOWN_PRODUCT = "product without text"
REPEATED = "repeated"


def text_at(schema: pl.Schema, column: str, *path: str, placeholders: Sequence[str] = ()) -> pl.Expr:
    """The column, or the field at `path` inside it, as text; see `text_in`."""
    return text_in(*_column(schema, column), *path, placeholders=placeholders)


def text_in(
    value: pl.Expr, dtype: pl.DataType | DataTypeClass, *path: str, placeholders: Sequence[str] = ()
) -> pl.Expr:
    """The field at `path` inside `value` as text; null where it is missing, empty or a placeholder."""
    inner, inner_type = _descend(value, dtype, path)
    if inner_type.is_nested():
        return pl.lit(None, pl.String)
    text = as_text(inner, inner_type).str.strip_chars()
    return pl.when(~text.is_in(["", *placeholders])).then(text)


def time_at(schema: pl.Schema, column: str) -> pl.Expr:
    """The column as `TIMESTAMP`; null if it is missing."""
    return as_timestamp(*_column(schema, column))


def event_columns(**columns: pl.Expr) -> list[pl.Expr]:
    """Every column of `EVENT_SCHEMA` in its type, null where not given."""
    assert columns.keys() <= EVENT_SCHEMA.keys()
    given = {name: columns.get(name, pl.lit(None)) for name in EVENT_SCHEMA}
    return [given[name].cast(dtype, strict=False).alias(name) for name, dtype in EVENT_SCHEMA.items()]


def attribute_pairs(**values: pl.Expr) -> pl.Expr:
    """One `ATTRIBUTES` value from text columns, without those that are null."""
    pairs = [pl.struct(pl.lit(name).alias("name"), value.alias("value")) for name, value in values.items()]
    return pl.concat_list(pairs).list.eval(pl.element().filter(pl.element().struct.field("value").is_not_null()))


def mark_dropped(events: pl.LazyFrame) -> pl.LazyFrame:
    """`events` with `dropped` set, to the first reason that holds, in rows that cannot become an interaction."""
    searching = pl.col("action") == "search"
    reason = (
        pl.when(pl.col("dropped").is_not_null())
        .then(pl.col("dropped"))
        .when(searching & pl.col("query").is_null())
        .then(pl.lit(NO_PHRASE))
        .when(~searching & pl.col("product_id").is_null())
        .then(pl.lit(NO_PRODUCT))
        .when(pl.col("session_id").is_null() & pl.col("user_id").is_null())
        .then(pl.lit(NO_SESSION))
        .when(pl.col("session_id").is_null() & pl.col("timestamp").is_null())
        .then(pl.lit(NO_TIMESTAMP))
    )
    return events.with_columns(
        reason.alias("dropped"),
        pl.when(searching).then(pl.col("query")).alias("query"),
        pl.when(~searching).then(pl.col("product_id")).alias("product_id"),
    )


def _descend(value: pl.Expr, dtype: pl.DataType | DataTypeClass, path: Sequence[str]) -> tuple[pl.Expr, pl.DataType]:
    dtype = _instance(dtype)
    for name in path:
        fields = {field.name: field.dtype for field in dtype.fields} if isinstance(dtype, pl.Struct) else {}
        value = value.struct.field(name) if name in fields else pl.lit(None)
        dtype = _instance(fields.get(name, pl.Null()))
    return value, dtype


def _column(schema: pl.Schema, name: str) -> tuple[pl.Expr, pl.DataType]:
    return (pl.col(name), schema[name]) if name in schema else (pl.lit(None), pl.Null())


def _instance(dtype: pl.DataType | DataTypeClass) -> pl.DataType:
    return dtype() if isinstance(dtype, DataTypeClass) else dtype
