"""Events of a log in the corpus' own columns: session_id, position, action, product_id, query, timestamp, user_id."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ubm_embed.data.interactions import known_action, valid_timestamp
from ubm_embed.data.logs.event_table import PRODUCT_FIELDS, event_columns, text_at, time_at
from ubm_embed.data.tables.attributes import ATTRIBUTES, as_attributes
from ubm_embed.data.tables.columns import Requirement, require_all, require_columns
from ubm_embed.data.tables.table_files import collect_tables, scan_table, table_kind
from ubm_embed.data.tables.timestamps import TIMESTAMP

NATIVE_SCHEMA: dict[str, pl.DataType] = {
    "session_id": pl.String(),
    "position": pl.Int32(),
    "action": pl.String(),
    "product_id": pl.String(),
    "query": pl.String(),
    "timestamp": TIMESTAMP,
    "user_id": pl.String(),
}


# Each row of JSON names its columns; looking through all of them takes longer than all the rest.
_JSON_SCHEMA = dict.fromkeys((*NATIVE_SCHEMA, *PRODUCT_FIELDS), pl.String())


def native_log(file: Path) -> pl.LazyFrame:
    """The rows of one file; of JSON only the columns that are used here and not empty.

    Raises:
        NotFound: no such file.
        InvalidData: not readable.
    """
    if table_kind(file) not in ("JSON", "JSON Lines"):
        return scan_table(file)
    log = scan_table(file, schema=_JSON_SCHEMA)
    (counts,) = collect_tables([log.select(pl.all().is_not_null().any())], [file])
    filled = [name for name, any_row in counts.row(0, named=True).items() if any_row]
    # An empty column and a missing one look the same: the rows are searched for the difference only then.
    return log.select(filled) if set(_needed(filled)) <= set(filled) else scan_table(file)


def native_events(log: pl.LazyFrame, file: Path) -> pl.LazyFrame:
    """The events of one file, in `EVENT_SCHEMA`, with the products' title, category, attributes and price if given.

    Raises:
        InvalidData: a missing column, an unknown action, an invalid timestamp or position; names file, row and field.
    """
    schema = log.collect_schema()
    _require_valid(log, schema, file)
    return log.select(
        event_columns(
            position=pl.col("position") if "position" in schema else pl.lit(None),
            timestamp=time_at(schema, "timestamp"),
            attributes=_attributes(log, schema, file),
            **{
                name: text_at(schema, name)
                for name in ("session_id", "user_id", "action", "product_id", "query", "title", "category", "price")
            },
        )
    )


def _require_valid(log: pl.LazyFrame, schema: pl.Schema, file: Path) -> None:
    require_columns(schema.names(), _needed(schema.names()), NATIVE_SCHEMA, file)
    requirements = [known_action()]
    if "timestamp" in schema:
        requirements.append(valid_timestamp(schema["timestamp"]))
    if "position" in schema:
        whole = pl.col("position").cast(pl.Int32, strict=False).is_not_null() | pl.col("position").is_null()
        requirements.append(Requirement("position", whole, "a whole number"))
    require_all(log, requirements, file)


def _needed(columns: list[str]) -> list[str]:
    """The columns that a log with these columns must have."""
    session = ["session_id"] if "session_id" in columns or "user_id" not in columns else ["user_id", "timestamp"]
    return ["action", *session, "query" if "query" in columns else "product_id"]


def _attributes(log: pl.LazyFrame, schema: pl.Schema, file: Path) -> pl.Expr:
    if "attributes" not in schema:
        return pl.lit(None, ATTRIBUTES)
    if schema["attributes"] == ATTRIBUTES:
        return pl.col("attributes")
    # Parsed here once for an error that names the row: inside the stream rows have no numbers.
    as_attributes(collect_tables([log.select("attributes")], [file])[0]["attributes"], file=file)
    return pl.col("attributes").map_batches(as_attributes, return_dtype=ATTRIBUTES, is_elementwise=True)
