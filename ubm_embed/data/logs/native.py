"""Events of a log in the corpus' own columns: session_id, position, action, product_id, query, timestamp, user_id."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ubm_embed.data.ids import clean_ids
from ubm_embed.data.interactions import known_action, valid_timestamp
from ubm_embed.data.logs.event_table import PRODUCT_FIELDS, ROW, event_columns, text_at, time_at
from ubm_embed.data.tables.attributes import ATTRIBUTES, as_attributes
from ubm_embed.data.tables.columns import Requirement, require_columns
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
_TEXTS = {*NATIVE_SCHEMA, *_FURTHER} - {"position", "timestamp", "attributes"}
# Each row of JSON names its columns; looking through all of them takes longer than all the rest.
_JSON_SCHEMA = dict.fromkeys((*NATIVE_SCHEMA, *_FURTHER), pl.String())


def native_log(file: Path) -> pl.LazyFrame:
    """The events of one file, in `EVENT_SCHEMA`.

    Raises:
        NotFound: no such file.
        InvalidData: not readable; a missing column, an unknown action, an invalid timestamp, position or attributes:
            names file, row and field.
    """
    log = _checked(file)
    schema = log.collect_schema()
    return log.select(
        event_columns(
            position=_whole(schema) if "position" in schema else pl.lit(None),
            timestamp=time_at(schema, "timestamp"),
            attributes=_attributes(log, schema, file),
            row=pl.col(ROW),
            **{name: text_at(schema, name) for name in _TEXTS},
        )
    )


def _checked(file: Path) -> pl.LazyFrame:
    """The rows of one file, of JSON only the columns that are used and not empty. Raises what `native_log` does."""
    in_json = table_kind(file) in ("JSON", "JSON Lines")
    log = scan_table(file, schema=_JSON_SCHEMA if in_json else None, row=ROW, json_text=["attributes"])
    schema = log.collect_schema()
    requirements = _requirements(schema)
    failing = {requirement.field: (~requirement.condition).sum() for requirement in requirements}
    names = [name for name in schema.names() if name != ROW]
    # One pass for both, since parsing JSON takes longer than all the rest.
    used = {f"uses {name}": pl.col(name).is_not_null().any() for name in names} if in_json else {}
    (checks,) = collect_tables([log.select(**failing, **used)], [file])
    if in_json:
        filled = [name for name in names if checks[f"uses {name}"].item()]
        # An empty column and a missing one look the same: the rows are searched for the difference only then.
        log = log.select(ROW, *filled) if set(_needed(filled)) <= set(filled) else scan_table(file, row=ROW)
        names = [name for name in log.collect_schema().names() if name != ROW]
    require_columns(names, _needed(names), NATIVE_SCHEMA, file)
    for requirement in requirements:
        if requirement.field in names and (count := checks[requirement.field].item()):
            raise _failed(requirement, count, log, file)
    return log


def _requirements(schema: pl.Schema) -> list[Requirement]:
    requirements = []
    if "action" in schema:
        requirements.append(known_action())
    if "timestamp" in schema:
        requirements.append(valid_timestamp(schema["timestamp"]))
    if "position" in schema:
        whole = _whole(schema).is_not_null() | pl.col("position").is_null()
        requirements.append(Requirement("position", whole, "a whole number"))
    return requirements


def _whole(schema: pl.Schema) -> pl.Expr:
    """The positions; a text may have an empty fraction, as an id may."""
    position = pl.col("position")
    return (clean_ids(position) if schema["position"] == pl.String else position).cast(pl.Int64, strict=False)


def _failed(requirement: Requirement, count: int, log: pl.LazyFrame, file: Path) -> InvalidData:
    """The error for the first of the `count` rows that do not meet a requirement."""
    rows = log.filter(~requirement.condition).select(ROW, requirement.field).head(1)
    row, value = collect_tables([rows], [file])[0].row(0)
    more = f" (and {count - 1:,} more rows)" if count > 1 else ""
    problem = f"expected {requirement.expected}, got {value!r}{more}"
    return InvalidData(problem, file=file, row=row, field=requirement.field)


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
    (read,) = collect_tables([log.select(ROW, "attributes")], [file])
    try:
        as_attributes(read["attributes"], file=file)
    except InvalidData as error:
        row = None if error.row is None else read[ROW][error.row - 1]
        raise InvalidData(error.problem, file=file, row=row, field=error.field) from None
    return pl.col("attributes").map_batches(as_attributes, return_dtype=ATTRIBUTES, is_elementwise=True)
