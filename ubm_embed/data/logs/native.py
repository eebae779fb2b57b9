"""Events of a log in the corpus' own columns: session_id, position, action, product_id, query, timestamp, user_id."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import polars as pl

from ubm_embed.data.ids import clean_ids
from ubm_embed.data.interactions import known_action, valid_timestamp
from ubm_embed.data.logs.event_table import INVALID, PRODUCT_FIELDS, ROW, event_columns, text_at, time_at
from ubm_embed.data.tables.attributes import ATTRIBUTES, EXPECTED_ATTRIBUTES, as_attributes
from ubm_embed.data.tables.columns import Requirement, require_columns
from ubm_embed.data.tables.in_words import value_in_words
from ubm_embed.data.tables.table_files import collect_tables, scan_table, table_kind
from ubm_embed.data.tables.timestamps import TIMESTAMP
from ubm_embed.errors import InvalidData

NATIVE_SCHEMA: dict[str, pl.DataType] = {
    "session_id": pl.String(),
    "position": pl.Int32(),
    "action": pl.String(),
    "product_id": pl.String(),
    "query": pl.String(),
    "timestamp": TIMESTAMP,
    "user_id": pl.String(),
}
# Columns that a corpus does not have, but a log may.
_FURTHER = ("anonymous_id", "message_id", "order_id", *PRODUCT_FIELDS)
_TYPED = ("position", "timestamp", "attributes")
_TEXTS = {*NATIVE_SCHEMA, *_FURTHER} - {*_TYPED}
# Each row of JSON names its columns; looking through all of them takes longer than all the rest.
_JSON_SCHEMA = dict.fromkeys((*NATIVE_SCHEMA, *_FURTHER), pl.String())


def native_log(file: Path) -> pl.LazyFrame:
    """The events of one file, in `EVENT_SCHEMA`; in rows for which `require_valid` raises, `dropped` is `INVALID`.

    Raises:
        NotFound: no such file.
        InvalidData: not readable; of all formats but JSON, a missing column.
    """
    log, schema = _typed(file)
    invalid = ~pl.all_horizontal(requirement.condition for requirement in _requirements(schema))
    typed = {name: pl.col(_in_type(name)) for name in _TYPED}
    texts = {name: text_at(schema, name) for name in _TEXTS}
    return log.select(event_columns(**typed, **texts, row=pl.col(ROW), dropped=pl.when(invalid).then(pl.lit(INVALID))))


def require_valid(file: Path) -> None:
    """Look at a file in which a row is invalid, or none is of use, for what is wrong.

    Raises:
        InvalidData: a missing column, an unknown action, an invalid timestamp, position or attributes: names file, row
            and field.
    """
    log, schema = _typed(file)
    requirements = _requirements(schema)
    failing = {requirement.field: (~requirement.condition).sum() for requirement in requirements}
    filled = {f"uses {name}": pl.col(name).is_not_null().any() for name in schema}
    (found,) = collect_tables([log.select(**failing, **filled)], [file])
    columns = [name for name in schema if found[f"uses {name}"].item()]
    if not set(_needed(columns)) <= set(columns):
        # An empty column and a missing one look the same: the rows are searched for the difference only then.
        columns = [name for name in scan_table(file, row=ROW).collect_schema() if name != ROW]
        require_columns(columns, _needed(columns), NATIVE_SCHEMA, file)
    for requirement in requirements:
        if count := found[requirement.field].item():
            raise _failed(requirement, count, log, file)


def _typed(file: Path) -> tuple[pl.LazyFrame, pl.Schema]:
    """The rows of a file, with a further column for each of `_TYPED`; and its schema without these and `ROW`."""
    in_json = table_kind(file) in ("JSON", "JSON Lines")
    log = scan_table(file, schema=_JSON_SCHEMA if in_json else None, row=ROW, json_text=["attributes"])
    schema = pl.Schema((name, dtype) for name, dtype in log.collect_schema().items() if name != ROW)
    if not in_json:
        require_columns(schema.names(), _needed(schema.names()), NATIVE_SCHEMA, file)
    typed = {"position": _whole(schema), "timestamp": time_at(schema, "timestamp"), "attributes": _pairs(schema, file)}
    return log.with_columns(value.alias(_in_type(name)) for name, value in typed.items()), schema


def _in_type(name: str) -> str:
    return f"\0{name}"


def _whole(schema: pl.Schema) -> pl.Expr:
    """The positions; a text may have an empty fraction, as an id may."""
    if "position" not in schema:
        return pl.lit(None, pl.Int64)
    position = pl.col("position")
    return (clean_ids(position) if schema["position"] == pl.String else position).cast(pl.Int64, strict=False)


def _pairs(schema: pl.Schema, file: Path) -> pl.Expr:
    if "attributes" not in schema:
        return pl.lit(None, ATTRIBUTES)
    as_attributes(pl.Series("attributes", [], schema["attributes"]), file=file)  # raises for a type that holds none
    read = partial(as_attributes, strict=False)
    return pl.col("attributes").map_batches(read, return_dtype=ATTRIBUTES, is_elementwise=True)


def _requirements(schema: pl.Schema) -> list[Requirement]:
    """What every row of `_typed` must meet."""
    position, attributes = pl.col("position"), pl.col("attributes")
    whole = position.is_null() | pl.col(_in_type("position")).is_not_null()
    pairs = attributes.is_null() | pl.col(_in_type("attributes")).is_not_null()
    if schema.get("attributes") == pl.String:
        pairs |= attributes.str.strip_chars().is_in(["", "null"])
    requirements = [
        known_action(),
        valid_timestamp(schema.get("timestamp", TIMESTAMP), pl.col(_in_type("timestamp"))),
        Requirement("position", whole, "a whole number"),
        Requirement("attributes", pairs, EXPECTED_ATTRIBUTES),
    ]
    return [requirement for requirement in requirements if requirement.field in schema]


def _failed(requirement: Requirement, count: int, log: pl.LazyFrame, file: Path) -> InvalidData:
    """The error for the first of the `count` rows that do not meet a requirement."""
    rows = log.filter(~requirement.condition).select(ROW, requirement.field).head(1)
    row, value = collect_tables([rows], [file])[0].row(0)
    more = f" (and {count - 1:,} more rows)" if count > 1 else ""
    problem = f"expected {requirement.expected}, got {value_in_words(value)}{more}"
    return InvalidData(problem, file=file, row=row, field=requirement.field)


def _needed(columns: list[str]) -> list[str]:
    """The columns that a log with these columns must have."""
    people = [name for name in ("user_id", "anonymous_id") if name in columns]
    session = ["session_id"] if "session_id" in columns or not people else [people[0], "timestamp"]
    return ["action", *session, "query" if "query" in columns else "product_id"]
