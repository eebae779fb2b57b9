"""Values in a type that is known before they are read, that of the column whose values they replace."""

from __future__ import annotations

import polars as pl

from ubm_embed.data.column_types import fits, is_price, known, typed
from ubm_embed.data.mappings.column import ColumnType
from ubm_embed.data.tables.columns import as_text
from ubm_embed.data.tables.timestamps import as_timestamp


def as_type(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Values in a type, null where they do not have it. Text is read as that of a catalogue is.

    Raises:
        ValueError: values of their type never have that one, or JSON text of a list or a record is damaged.
    """
    if values.dtype == dtype:
        return values
    if values.null_count() == values.len():
        return pl.Series(values.name, [None], dtype).new_from_index(0, values.len())
    if values.dtype != pl.String and values.dtype.is_nested() != dtype.is_nested():
        raise ValueError(f"values of type {values.dtype} are never of type {dtype}")
    try:
        cast = values.to_frame().select(_cast(pl.col(values.name), values.dtype, dtype, values.name)).to_series()
    except pl.exceptions.PolarsError as error:
        raise ValueError(str(error).splitlines()[0]) from None
    return cast.alias(values.name)


def first_unlike(values: pl.Series, cast: pl.Series) -> int | None:
    """The first row whose value `as_type` made null, though it is filled and does not stand for a missing one."""
    value = known(pl.col(values.name)) if values.dtype == pl.String else pl.col(values.name)
    lost = values.to_frame().select(value.is_not_null()).to_series() & cast.is_null()
    return next(iter(lost.arg_true()), None)


def _cast(value: pl.Expr, given: pl.DataType, dtype: pl.DataType, name: str) -> pl.Expr:
    if isinstance(dtype, pl.Datetime):
        return _as_time(value, given, dtype)
    if given == pl.String:
        return _read(value, dtype, name)
    if dtype == pl.String:
        return as_text(value, given)
    if dtype == pl.Boolean and given.is_numeric():
        return pl.when(value.is_in([0, 1])).then(value.cast(pl.Boolean))
    cast = value.cast(dtype, strict=False)
    # A fraction is not cut off.
    return pl.when(cast.cast(given) == value).then(cast) if given.is_float() and dtype.is_integer() else cast


def _as_time(value: pl.Expr, given: pl.DataType, dtype: pl.Datetime) -> pl.Expr:
    moment = as_timestamp(value, given).dt.cast_time_unit(dtype.time_unit or "us")
    if dtype.time_zone is None:
        return moment
    return moment.dt.replace_time_zone("UTC").dt.convert_time_zone(dtype.time_zone)


def _read(text: pl.Expr, dtype: pl.DataType, name: str) -> pl.Expr:
    if dtype.is_numeric():
        fraction = ColumnType.PRICE if is_price(name) else ColumnType.NUMBER
        kind = ColumnType.INTEGER if dtype.is_integer() else fraction
        value = known(text)
        return typed(pl.when(fits(value, kind)).then(value), kind).cast(dtype, strict=False)
    if dtype == pl.Boolean:
        return typed(text, ColumnType.BOOLEAN)
    if dtype == pl.Date:
        return as_timestamp(text, pl.String()).cast(pl.Date)
    return text.str.json_decode(dtype)
