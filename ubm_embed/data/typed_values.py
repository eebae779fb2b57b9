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
        return _cast(values, dtype).alias(values.name)
    except pl.exceptions.PolarsError as error:
        raise ValueError(str(error).splitlines()[0]) from None


def first_unlike(values: pl.Series, cast: pl.Series) -> int | None:
    """The first row whose value `as_type` made null, though it is filled and does not stand for a missing one."""
    if values.null_count() == cast.null_count():
        return None
    value = known(pl.col(values.name)) if values.dtype == pl.String else pl.col(values.name)
    lost = _evaluated(values, value.is_not_null()) & cast.is_null()
    return next(iter(lost.arg_true()), None)


def _evaluated(values: pl.Series, expression: pl.Expr) -> pl.Series:
    return values.to_frame().select(expression).to_series()


def _cast(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    value, given = pl.col(values.name), values.dtype
    if isinstance(dtype, pl.Datetime):
        return _evaluated(values, _as_time(value, given, dtype))
    if given == pl.String:
        return _read(values, dtype)
    if dtype == pl.String:
        return _evaluated(values, as_text(value, given))
    if dtype == pl.Boolean and given.is_numeric():
        return _evaluated(values, pl.when(value.is_in([0, 1])).then(value.cast(pl.Boolean)))
    cast = value.cast(dtype, strict=False)
    if given.is_float() and dtype.is_integer():
        cast = pl.when(cast.cast(given) == value).then(cast)  # a fraction is not cut off
    return _evaluated(values, cast)


def _as_time(value: pl.Expr, given: pl.DataType, dtype: pl.Datetime) -> pl.Expr:
    moment = as_timestamp(value, given).dt.cast_time_unit(dtype.time_unit or "us")
    if dtype.time_zone is None:
        return moment
    return moment.dt.replace_time_zone("UTC").dt.convert_time_zone(dtype.time_zone)


def _read(texts: pl.Series, dtype: pl.DataType) -> pl.Series:
    text = pl.col(texts.name)
    if dtype.is_numeric():
        return _read_numbers(texts, dtype)
    if dtype == pl.Boolean:
        return _evaluated(texts, typed(text, ColumnType.BOOLEAN))
    if dtype == pl.Date:
        return _evaluated(texts, as_timestamp(text, pl.String()).cast(pl.Date))
    if dtype == pl.Time:
        formats = ("%H:%M:%S%.f", "%H:%M")
        return _evaluated(texts, pl.coalesce(known(text).str.to_time(form, strict=False) for form in formats))
    return _evaluated(texts, text.str.json_decode(dtype))


def _read_numbers(texts: pl.Series, dtype: pl.DataType) -> pl.Series:
    # Step by step: within one expression polars would read each text again for every part of it.
    values = _evaluated(texts, known(pl.col(texts.name)))
    kind = ColumnType.INTEGER if dtype.is_integer() else ColumnType.NUMBER
    fitting = _evaluated(values, fits(pl.col(texts.name), kind))
    if kind is ColumnType.NUMBER and is_price(texts.name) and not fitting.all():
        return _evaluated(values, typed(pl.col(texts.name), ColumnType.PRICE)).cast(dtype)
    return values.set(~fitting, None).cast(dtype, strict=False)
