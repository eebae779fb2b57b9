from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest

from ubm_embed.data.tables.timestamps import TIMESTAMP, as_timestamp

NOON = datetime(2024, 1, 1, 12)
SECONDS = int(NOON.replace(tzinfo=UTC).timestamp())


def moment(value: Any, dtype: pl.DataType | None = None) -> datetime | None:
    frame = pl.DataFrame({"t": pl.Series([value], dtype=dtype)})
    column = frame.select(as_timestamp(pl.col("t"), frame.schema["t"])).to_series()
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
    ],
    ids=str,
)
def test_every_form_of_a_moment_is_the_same_moment(value: Any) -> None:
    assert moment(value) == NOON


def test_a_date_is_its_midnight_and_fractions_are_kept() -> None:
    assert moment(date(2024, 1, 1)) == moment("2024-01-01") == datetime(2024, 1, 1)
    assert moment("2024-01-01T12:00:00.123456Z") == NOON + timedelta(microseconds=123456)


@pytest.mark.parametrize("value", ["", "yesterday", "2024-13-01", "nan", None])
def test_an_invalid_timestamp_is_null(value: str | None) -> None:
    assert moment(value, pl.String()) is None
    assert moment([value], pl.List(pl.String)) is None
