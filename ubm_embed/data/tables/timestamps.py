"""Timestamps in any of the forms that logs use, as naive UTC in microseconds."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from ubm_embed.data.tables.formats import TimeFormat

TIMESTAMP = pl.Datetime("us")

# An integer is taken as seconds, milliseconds, microseconds or nanoseconds since 1970, so that it is in 1973 to 5138.
_MICROSECONDS_UP_TO = ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0), (float("inf"), 1e-3))
_MICROSECONDS_IN = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}

# Parsed several times as fast as anything else; `%#z` is a zone with or without minutes.
_COMMON = tuple(f"%Y-%m-%d{t}%H:%M:%S%.f{zone}" for t in "T " for zone in ("", "Z", "%#z"))
# ISO 8601 and what databases print: a date, perhaps with a time, perhaps with a zone.
_TEXT = (
    r"^(?<date>\d{4}-\d\d-\d\d)(?:[Tt ](?<minute>\d\d:\d\d)(?<second>:\d\d)?(?:[.,](?<fraction>\d+))?)?"
    r" ?(?<zone>Z|z|UTC|GMT|[+-]\d\d(?::?\d\d)?(?: [A-Z]{3,5})?)?$"
)
_NAME_OF_ZONE = r" [A-Z]+$"  # Go prints the offset and the name: `+0200 CEST`
_WHOLE_HOURS = r"^([+-]\d\d)$"
# A year of two digits that was read as one of four.
_FIRST_YEAR = 1000


def as_timestamp(moment: pl.Expr, dtype: pl.DataType, written: TimeFormat | None = None) -> pl.Expr:
    """`moment` as `TIMESTAMP`; null where it is invalid.

    Args:
        moment: a date, a date and time with or without a zone, a number since 1970, or text of any of these
            (ISO 8601).
        dtype: the type of `moment`.
        written: how text and numbers are written, and the zone of times that name none; None is as above, and UTC.
            Where clocks are put back, a time that occurs twice is the earlier one; where they are put forward, a time
            that is skipped is the one that clocks would have shown had they not been.
    """
    written = written or TimeFormat()
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is None:
            return _from_zone(moment.cast(TIMESTAMP), written.zone)
        return moment.dt.convert_time_zone("UTC").dt.replace_time_zone(None).cast(TIMESTAMP)
    if dtype == pl.Date:
        return _from_zone(moment.cast(TIMESTAMP), written.zone)
    if dtype.is_numeric():
        return _from_number(moment, written)
    if dtype != pl.String:
        return pl.lit(None, TIMESTAMP)
    text = moment.str.strip_chars()
    if written.format is not None:
        return pl.coalesce(_from_format(text, form, written.zone) for form in written.format)
    return text.map_batches(lambda texts: _from_texts(texts, written), return_dtype=TIMESTAMP, is_elementwise=True)


def _from_number(number: pl.Expr, written: TimeFormat) -> pl.Expr:
    value = number.cast(pl.Float64, strict=False)
    if written.unit is not None:
        microseconds = value * _MICROSECONDS_IN[written.unit]
    else:
        microseconds = pl.lit(None, pl.Float64)
        for limit, scale in reversed(_MICROSECONDS_UP_TO):
            microseconds = pl.when(value.abs() < limit).then(value * scale).otherwise(microseconds)
    return microseconds.round().cast(pl.Int64, strict=False).cast(TIMESTAMP)


def _from_texts(texts: pl.Series, written: TimeFormat, forms: Sequence[str] = _COMMON) -> pl.Series:
    """The times in a column: those like its first one at once, and what is left in the same way."""
    filled = texts.filter(texts.is_not_null() & (texts != ""))
    form = next(
        (form for form in forms if filled.head(1).str.to_datetime(form, strict=False).is_not_null().any()), None
    )
    if form is None:
        times = _column(texts, _from_number(pl.col("t"), written))
    else:
        times = _column(texts, _from_format(pl.col("t"), form, "UTC" if form.endswith("Z") else written.zone))
    left = texts.is_not_null() & (texts != "") & times.is_null()
    if not left.any():
        return times
    rest = texts.filter(left)
    if form is None:
        others = _column(rest, _from_iso(pl.col("t"), written.zone))
    else:
        others = _from_texts(rest, written, [other for other in forms if other != form])
    return times.scatter(left.arg_true(), others)


def _column(texts: pl.Series, times: pl.Expr) -> pl.Series:
    return texts.to_frame("t").select(times).to_series()


def _from_iso(text: pl.Expr, zone: str) -> pl.Expr:
    part = text.str.extract_groups(_TEXT).struct
    clock = part.field("minute").fill_null("00:00") + part.field("second").fill_null(":00")
    local = part.field("date") + "T" + clock + "." + part.field("fraction").fill_null("0")
    named = part.field("zone").str.replace("^(?:z|UTC|GMT)$", "Z").str.replace(_NAME_OF_ZONE, "")
    named = named.str.replace(_WHOLE_HOURS, "${1}:00")
    in_zone = _from_zone(local.str.to_datetime(_COMMON[0], time_unit="us", strict=False), zone)
    absolute = (local + named).str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    return pl.when(named.is_null()).then(in_zone).otherwise(absolute.dt.replace_time_zone(None))


def _from_format(text: pl.Expr, form: str, zone: str) -> pl.Expr:
    parsed = text.str.to_datetime(form, time_unit="us", strict=False)
    if "%z" in form or "%:z" in form or "%#z" in form or form == "%+":  # then polars gives UTC
        return _plausible(parsed.dt.replace_time_zone(None))
    return _plausible(_from_zone(parsed, zone))


def _plausible(moment: pl.Expr) -> pl.Expr:
    return pl.when(moment.dt.year() >= _FIRST_YEAR).then(moment)


def _from_zone(local: pl.Expr, zone: str) -> pl.Expr:
    """UTC of a local time."""
    if zone == "UTC":
        return local

    def utc(moment: pl.Expr) -> pl.Expr:
        zoned = moment.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        return zoned.dt.convert_time_zone("UTC").dt.replace_time_zone(None)

    # The hour before one that is skipped is there, and as long.
    hour = pl.duration(hours=1)
    return pl.coalesce(utc(local), utc(local - hour) + hour)
