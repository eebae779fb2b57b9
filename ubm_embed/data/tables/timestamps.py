"""Timestamps in any of the forms that logs use, as naive UTC in microseconds."""

from __future__ import annotations

import polars as pl

from ubm_embed.data.tables.formats import TimeFormat

TIMESTAMP = pl.Datetime("us")

# An integer is taken as seconds, milliseconds, microseconds or nanoseconds since 1970, so that it is in 1973 to 5138.
_MICROSECONDS_UP_TO = ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0), (float("inf"), 1e-3))

_DATE = r"^(\d{4}-\d\d-\d\d)$"
_NO_SECONDS = r"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d)(Z|[+-].*)?$"
_NO_ZONE = r"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?)$"


def as_timestamp(moment: pl.Expr, dtype: pl.DataType, written: TimeFormat | None = None) -> pl.Expr:
    """`moment` as `TIMESTAMP`; null where it is invalid.

    Args:
        moment: a date, a date and time with or without a zone (then UTC), a number since 1970, or text of any of these
            (ISO 8601).
        dtype: the type of `moment`.
        written: how text and numbers are written; None is as above.
    """
    if isinstance(dtype, pl.Datetime):
        zoned = moment if dtype.time_zone is None else moment.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return zoned.cast(TIMESTAMP)
    if dtype == pl.Date:
        return moment.cast(TIMESTAMP)
    if dtype.is_numeric():
        return _from_number(moment)
    if dtype == pl.String:
        return pl.coalesce(_from_text(moment), _from_number(moment))
    return pl.lit(None, TIMESTAMP)


def _from_number(number: pl.Expr) -> pl.Expr:
    value = number.cast(pl.Float64, strict=False)
    microseconds = pl.lit(None, pl.Float64)
    for limit, scale in reversed(_MICROSECONDS_UP_TO):
        microseconds = pl.when(value.abs() < limit).then(value * scale).otherwise(microseconds)
    return microseconds.round().cast(pl.Int64, strict=False).cast(TIMESTAMP)


def _from_text(text: pl.Expr) -> pl.Expr:
    """ISO 8601 and what databases print: a space for the T, no seconds, `UTC` or no zone."""
    iso = text.str.strip_chars().str.replace(r" ?UTC$", "Z")
    iso = iso.str.replace(_DATE, "${1}T00:00:00Z").str.replace(_NO_SECONDS, "${1}:00${2}")
    iso = iso.str.replace(_NO_ZONE, "${1}Z")
    return iso.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False).dt.replace_time_zone(None)
