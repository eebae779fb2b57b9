"""Records that a table holds as JSON text, as warehouses hand them on (Snowflake, Fivetran, a CSV export)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import polars as pl

from ubm_embed.data.logs.event_table import PROBLEM
from ubm_embed.data.mappings.json_text import as_text, loads


def decode_nested(log: pl.LazyFrame, schema: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    """The rows with texts decoded where `schema` has records or lists.

    What does not fit is null then, and the column `PROBLEM` says so.
    """
    found = log.collect_schema()
    texts = [name for name, dtype in schema.items() if dtype.is_nested() and found.get(name) == pl.String]
    if not texts:
        return log
    decoded = {
        name: pl.col(name).map_batches(
            partial(_decode, dtype=schema[name]), return_dtype=_with_problem(schema[name]), is_elementwise=True
        )
        for name in texts
    }
    both = log.with_columns(decode.alias(name) for name, decode in decoded.items())
    problems = [pl.format("field {}: {}", pl.lit(name), pl.col(name).struct.field("problem")) for name in texts]
    return both.with_columns(
        pl.coalesce(PROBLEM, *problems).alias(PROBLEM),
        *(pl.col(name).struct.field("value").alias(name) for name in texts),
    )


def _with_problem(dtype: pl.DataType) -> pl.Struct:
    return pl.Struct({"value": dtype, "problem": pl.String})


def _decode(texts: pl.Series, *, dtype: pl.DataType) -> pl.Series:
    # Python's parser, since that of polars fails on a column as a whole and loses rows with empty texts.
    rows = [_decoded(text, dtype) for text in texts]
    return pl.Series(texts.name, rows, dtype=_with_problem(dtype))


def _decoded(text: str | None, dtype: pl.DataType) -> dict[str, Any]:
    if text is None or not text.strip():
        return {"value": None, "problem": None}
    try:
        return {"value": _fit(loads(text), dtype), "problem": None}
    except ValueError as error:
        problem = "not JSON" if isinstance(error, json.JSONDecodeError) else str(error)
        return {"value": None, "problem": problem}


def _fit(value: Any, dtype: Any) -> Any:
    """The value in the type; raises ValueError where it is no record or list and should be one."""
    if value is None:
        return None
    if isinstance(dtype, pl.List):
        return [_fit(entry, dtype.inner) for entry in _require(value, list, "a list")]
    if isinstance(dtype, pl.Struct):
        record = {} if value == [] else _require(value, dict, "an object")  # an empty map of PHP is []
        return {field.name: _fit(record.get(field.name), field.dtype) for field in dtype.fields}
    return as_text(value)


def _require(value: Any, kind: type, expected: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"expected {expected}, got {json.dumps(value)[:40]}")
    return value
