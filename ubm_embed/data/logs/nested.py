"""Records that a table holds as JSON text, as warehouses hand them on (Snowflake, Fivetran, a CSV export)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial

import polars as pl

from ubm_embed.data.logs.event_table import PROBLEM
from ubm_embed.data.tables.json_values import Fitting, whole_text


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
    problems = [pl.col(name).struct.field("problem") for name in texts]
    return both.with_columns(
        pl.coalesce(PROBLEM, *problems).alias(PROBLEM),
        *(pl.col(name).struct.field("value").alias(name) for name in texts),
    )


def _with_problem(dtype: pl.DataType) -> pl.Struct:
    return pl.Struct({"value": dtype, "problem": pl.String})


def _decode(texts: pl.Series, *, dtype: pl.DataType) -> pl.Series:
    # polars' parser fails on a column as a whole and loses empty texts, so that each text is made to fit first.
    fitted, problems = zip(*(_fit(text, texts.name, dtype) for text in texts), strict=True) if len(texts) else ((), ())
    values = pl.Series("value", fitted, dtype=pl.String).str.json_decode(dtype)
    return pl.DataFrame([values, pl.Series("problem", problems, dtype=pl.String)]).to_struct(texts.name)


def _fit(text: str | None, name: str, dtype: pl.DataType) -> tuple[str | None, str | None]:
    """The part of a JSON text that fits, and what does not."""
    fitting = Fitting({name: dtype}, ())
    value = fitting.fit({name: text}).get(name)
    problem = next((f"field {misfit.field}: {misfit.problem}" for misfit in fitting.misfits), None)
    return (None if value is None else whole_text(json.dumps(value, ensure_ascii=False))), problem
