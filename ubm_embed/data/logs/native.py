"""Events of a log in the corpus' own columns: session_id, position, action, product_id, query, timestamp, user_id."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ubm_embed.data.attributes import ATTRIBUTES, as_attributes
from ubm_embed.data.columns import require, require_columns
from ubm_embed.data.interactions import require_actions, require_timestamps
from ubm_embed.data.logs.event_table import event_columns, text_at, time_at
from ubm_embed.data.tables import collect_tables
from ubm_embed.data.timestamps import TIMESTAMP

NATIVE_SCHEMA: dict[str, pl.DataType] = {
    "session_id": pl.String(),
    "position": pl.Int32(),
    "action": pl.String(),
    "product_id": pl.String(),
    "query": pl.String(),
    "timestamp": TIMESTAMP,
    "user_id": pl.String(),
}


def native_events(log: pl.LazyFrame, file: Path) -> pl.LazyFrame:
    """The events of one file, in `EVENT_SCHEMA`. Products' title, category, attributes and price are taken if there.

    Raises:
        InvalidData: a missing column, an unknown action, a timestamp or position that is none; names file, row, field.
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
    session = ["session_id"] if "session_id" in schema or "user_id" not in schema else ["user_id", "timestamp"]
    product = ["query"] if "query" in schema else ["product_id"]
    require_columns(schema.names(), ["action", *session, *product], NATIVE_SCHEMA, file)
    require_actions(log, file)
    if "timestamp" in schema:
        require_timestamps(log, schema["timestamp"], file)
    if "position" in schema:
        whole = pl.col("position").cast(pl.Int32, strict=False).is_not_null() | pl.col("position").is_null()
        require(log, whole, file, "position", "a whole number")


def _attributes(log: pl.LazyFrame, schema: pl.Schema, file: Path) -> pl.Expr:
    if "attributes" not in schema:
        return pl.lit(None, ATTRIBUTES)
    if schema["attributes"] == ATTRIBUTES:
        return pl.col("attributes")
    # Parsed once here for an error with its row; inside the stream a row has no number.
    as_attributes(collect_tables([log.select("attributes")], [file])[0]["attributes"], file=file)
    return pl.col("attributes").map_batches(as_attributes, return_dtype=ATTRIBUTES, is_elementwise=True)
