"""Raw events: the common columns of events from any log, and the reasons why an event is dropped."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from polars.datatypes import DataTypeClass

from ubm_embed.data.ids import is_no_id
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
    "unread": ATTRIBUTES,  # other values that could not be read and are null, by field
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
# Columns of a table as it is read: the number of a row, and what does not fit in it. No file has names like these.
ROW, PROBLEM = "\0row", "\0problem"
PRODUCT_FIELDS = ("title", "category", "attributes", "price")

OTHER_EVENT = "other event"
ODD_RECORD = "odd record"
INVALID = "invalid value"  # of a log in which that is an error
DUPLICATE_MESSAGE = "duplicate message"
DUPLICATE_ORDER = "duplicate order"
NO_PRODUCT = "no product id"
NO_PHRASE = "no search phrase"
NO_SESSION = "no session or user"
NO_TIMESTAMP = "no timestamp"
LACKING = (NO_PRODUCT, NO_PHRASE, NO_SESSION, NO_TIMESTAMP)
UNKNOWN_PRODUCT = "product without text"
NO_ADD = "removal without add"
REPEATED = "repeated"


def text_at(schema: pl.Schema, column: str, *path: str) -> pl.Expr:
    """The column, or the field at `path` inside it, as text; see `text_in`."""
    return text_in(*_column(schema, column), *path)


def text_in(value: pl.Expr, dtype: pl.DataType | DataTypeClass, *path: str) -> pl.Expr:
    """The field at `path` inside `value` as text, a list of values joined by ` > `; null where it is missing."""
    inner, inner_type = _descend(value, dtype, path)
    if isinstance(inner_type, pl.List) and not inner_type.inner.is_nested():
        return inner.cast(pl.List(pl.String)).list.join(" > ", ignore_nulls=True)
    if inner_type.is_nested():
        return pl.lit(None, pl.String)
    return as_text(inner, inner_type)


def time_at(schema: pl.Schema, column: str) -> pl.Expr:
    """The column as `TIMESTAMP`; null if it is missing."""
    return as_timestamp(*_column(schema, column))


def unread_time(schema: pl.Schema, column: str) -> pl.Expr:
    """The texts of a column that `time_at` makes null, and `NO_TIMESTAMP` where it is missing; null elsewhere."""
    text = text_at(schema, column).fill_null(NO_TIMESTAMP)
    return pl.when(time_at(schema, column).is_null()).then(text)


def first_id(*texts: pl.Expr) -> pl.Expr:
    """The first of these texts that has an id in it, as it is."""
    return pl.coalesce([pl.when(~is_no_id(text)).then(text) for text in texts])


def event_columns(**columns: pl.Expr) -> list[pl.Expr]:
    """Every column of `EVENT_SCHEMA` in its type, null where not given."""
    assert columns.keys() <= EVENT_SCHEMA.keys()
    given = {name: columns.get(name, pl.lit(None)) for name in EVENT_SCHEMA}
    return [given[name].cast(dtype, strict=False).alias(name) for name, dtype in EVENT_SCHEMA.items()]


def attribute_pairs(**values: pl.Expr) -> pl.Expr:
    """One `ATTRIBUTES` value from text columns, without those that are null."""
    pairs = [pl.struct(pl.lit(name).alias("name"), value.alias("value")) for name, value in values.items()]
    return pl.concat_list(pairs).list.eval(pl.element().filter(pl.element().struct.field("value").is_not_null()))


def other_event(named: pl.Expr | None = None) -> pl.Expr:
    """`dropped` of rows whose action is none of ours.

    Args:
        named: whether a row says which event it is. If it does not, what is odd about it may be why.
    """
    other = pl.col("action").is_null() & (pl.col(PROBLEM).is_null() | (pl.lit(False) if named is None else named))
    return pl.when(other).then(pl.lit(OTHER_EVENT))


def mark_dropped(events: pl.LazyFrame) -> pl.LazyFrame:
    """`events` with `dropped` set, to the first reason that holds, in rows that cannot become an interaction."""
    searching = pl.col("action") == "search"
    reason = (
        pl.when(pl.col("dropped").is_not_null())
        .then(pl.col("dropped"))
        .when(pl.col("problem").is_not_null())
        .then(pl.lit(ODD_RECORD))
        .when(searching & pl.col("query").is_null())
        .then(pl.lit(NO_PHRASE))
        .when(~searching & pl.col("product_id").is_null())
        .then(pl.lit(NO_PRODUCT))
        .when(pl.all_horizontal(pl.col("session_id", "user_id", "anonymous_id").is_null()))
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
