"""Types and values of columns as messages name them, for people who do not know the library that reads them."""

from __future__ import annotations

import json
from datetime import date, datetime, time
from typing import Any

import polars as pl
from polars.datatypes import DataTypeClass

_SHOWN = 40


def type_in_words(dtype: pl.DataType | DataTypeClass) -> str:
    """A type as "a whole number", "a list (text)" or "a record of id (text), price (a number)"."""
    if isinstance(dtype, pl.List | pl.Array):
        return f"a list ({type_in_words(dtype.inner)})"
    if isinstance(dtype, pl.Struct):
        return f"a record of {', '.join(f'{field.name} ({type_in_words(field.dtype)})' for field in dtype.fields)}"
    if isinstance(dtype, pl.Datetime):
        return f"a date and time in {dtype.time_zone}" if dtype.time_zone else "a date and time"
    if dtype.is_integer():
        return "a whole number"
    if dtype.is_numeric():
        return "a number"
    names: dict[DataTypeClass, str] = {
        pl.Boolean: "true or false",
        pl.Date: "a date",
        pl.Time: "a time of day",
        pl.Duration: "a duration",
        pl.Binary: "bytes",
        pl.Null: "nothing",
    }
    return names.get(dtype.base_type(), "text")


def value_in_words(value: Any) -> str:
    """A value as `'x'`, `3`, `2024-03-01 10:00:00` or "nothing", long ones cut."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, date | time):
        return value.isoformat()
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
