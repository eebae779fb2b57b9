from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest

from ubm_embed.data.tables.formats import TimeFormat
from ubm_embed.data.tables.timestamps import TIMESTAMP, as_timestamp

NOON = datetime(2024, 1, 1, 12)
SECONDS = int(NOON.replace(tzinfo=UTC).timestamp())


def moment(value: Any, dtype: pl.DataType | None = None, **written: Any) -> datetime | None:
    frame = pl.DataFrame({"t": pl.Series([value], dtype=dtype)})
    column = frame.select(as_timestamp(pl.col("t"), frame.schema["t"], TimeFormat(**written))).to_series()
    assert column.dtype == TIMESTAMP
    return column.item()


@pytest.mark.parametrize(
    "value",
    [
        NOON,
        NOON.replace(tzinfo=UTC),
        NOON.replace(hour=14, tzinfo=timezone(timedelta(hours=2))),
        SECONDS,
        float(SECONDS),
        SECONDS * 1000,
        SECONDS * 1000_000,
        SECONDS * 1000_000_000,
        str(SECONDS),
        str(SECONDS * 1000_000),
        "2024-01-01T12:00:00Z",
        "2024-01-01T12:00:00.000Z",
        "2024-01-01 12:00:00 UTC",
        "2024-01-01 12:00:00",
        "2024-01-01T12:00",
        "2024-01-01T14:00+02:00",
        "2024-01-01T14:00:00.000000+0200",
        " 2024-01-01T12:00:00Z ",
        "2024-01-01t12:00:00z",
        "2024-01-01 12:00:00+00",  # Postgres
        "2024-01-01 14:00:00+02",
        "2024-01-01 14:00:00+0200",
        "2024-01-01 04:30:00.000-07:30",
        "2024-01-01 14:00 +02",
        "2024-01-01 12:00 GMT",
        "2024-01-01T12:00:00,000",
        "2024-01-01T12:00:00.000000000Z",
        "2024-01-01 12:00:00.000000001 +0000 UTC",  # Go
        "2024-01-01 14:00:00 +0200 CEST",
    ],
    ids=str,
)
def test_every_form_of_a_moment_is_the_same_moment(value: Any) -> None:
    assert moment(value) == NOON


def test_of_several_formats_the_first_that_fits_counts() -> None:
    formats = ["%Y-%m-%d %H:%M:%S", "%m/%d/%Y %H:%M"]
    assert moment("2024-01-01 12:00:00", format=formats) == moment("1/1/2024 12:00", format=formats) == NOON
    assert moment("2024-01-01", format=formats) is None
    assert moment("02/01/2024 12:00", format=["%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M"]) == NOON.replace(month=2)
    with pytest.raises(ValueError, match="got '%q'"):
        TimeFormat(format=["%Y-%m-%d", "%q"])


def test_a_date_is_its_midnight_and_fractions_are_kept() -> None:
    assert moment(date(2024, 1, 1)) == moment("2024-01-01") == datetime(2024, 1, 1)
    for fraction in (".123456", ".123456789", ",123456"):
        for zone in ("", "Z", "+00"):
            assert moment(f"2024-01-01T12:00:00{fraction}{zone}") == NOON + timedelta(microseconds=123456)


def test_a_column_may_mix_forms() -> None:
    texts = ["2024-01-01 12:00:00", str(SECONDS), None, "2024-01-01 12:00:00+00", "", "x", "2024-01-01", "24-01-01"]
    texts = [*texts, "2024-01-01T12:00:00Z", "2024-01-01 14:00 +02"]
    frame = pl.DataFrame({"t": texts})
    together = frame.select(as_timestamp(pl.col("t"), pl.String())).to_series().to_list()
    assert together == [moment(text, pl.String()) for text in texts]
    assert together == [NOON, NOON, None, NOON, None, None, datetime(2024, 1, 1), None, NOON, NOON]


@pytest.mark.parametrize(
    "value", [NOON, "2024-01-01T12:00:00", "2024-01-01 12:00", "01/01/2024 12:00:00", date(2024, 1, 1), "2024-01-01"]
)
def test_a_time_without_a_zone_is_of_the_one_that_is_declared(value: Any) -> None:
    written = {"format": "%d/%m/%Y %H:%M:%S"} if "/" in str(value) else {}
    utc = moment(value, **written)
    assert utc is not None
    assert moment(value, zone="Europe/Berlin", **written) == utc - timedelta(hours=1)
    assert moment("2024-01-01T12:00:00Z", zone="Europe/Berlin") == NOON


def test_a_time_that_occurs_twice_is_the_earlier_and_one_that_is_skipped_goes_on_as_before() -> None:
    assert moment("2024-10-27 02:30:00", zone="Europe/Berlin") == datetime(2024, 10, 27, 0, 30)
    assert moment("2024-03-31 01:59:00", zone="Europe/Berlin") == datetime(2024, 3, 31, 0, 59)
    assert moment("2024-03-31 02:30:00", zone="Europe/Berlin") == datetime(2024, 3, 31, 1, 30)


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("01/02/2024 03:04", "%d/%m/%Y %H:%M"),
        ("Feb  1 2024 03:04AM", "%b %e %Y %I:%M%p"),
        ("20240201030400", "%Y%m%d%H%M%S"),
        ("01/Feb/2024:05:04:00 +0200", "%d/%b/%Y:%H:%M:%S %z"),
        ("2024-02-01 03:04:00 UTC", "%Y-%m-%d %H:%M:%S %Z"),
    ],
)
def test_a_format_says_how_text_is_read(value: str, form: str) -> None:
    assert moment(value, format=form) == datetime(2024, 2, 1, 3, 4)
    assert moment("2024-02-01T03:04", format=form) is None


def test_a_year_of_two_digits_is_not_of_the_first_century() -> None:
    assert moment("01/02/24", format="%d/%m/%Y") is None
    assert moment("01/02/24", format="%d/%m/%y") == datetime(2024, 2, 1)


@pytest.mark.parametrize(("unit", "scale"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_a_unit_says_what_numbers_are(unit: str, scale: int) -> None:
    for value in (5 * scale, str(5 * scale)):
        assert moment(value, unit=unit) == datetime(1970, 1, 1, 0, 0, 5)


@pytest.mark.parametrize("written", [{"zone": "Mars"}, {"format": "%H"}, {"format": "%d/%m"}, {"format": "%q"}])
def test_an_invalid_time_format_is_refused(written: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(written))} must be"):
        TimeFormat(**written)


@pytest.mark.parametrize("value", ["", "yesterday", "2024-13-01", "nan", None])
def test_an_invalid_timestamp_is_null(value: str | None) -> None:
    assert moment(value, pl.String()) is None
    assert moment([value], pl.List(pl.String)) is None
