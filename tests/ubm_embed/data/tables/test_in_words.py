"""Types and values in words: no name of a library's or a language's type reaches a person."""

from datetime import UTC, date, datetime, time

import polars as pl
import pytest

from ubm_embed.data.tables.columns import conform, require
from ubm_embed.data.tables.in_words import type_in_words, value_in_words
from ubm_embed.errors import InvalidData


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        (pl.Float32(), "a number"),
        (pl.Decimal(10, 2), "a number"),
        (pl.UInt8(), "a whole number"),
        (pl.String(), "text"),
        (pl.Categorical(), "text"),
        (pl.Boolean(), "true or false"),
        (pl.Time(), "a time of day"),
        (pl.Datetime("us"), "a date and time"),
        (pl.Datetime("us", "UTC"), "a date and time in UTC"),
        (pl.Null(), "nothing"),
        (pl.Int64, "a whole number"),
        (pl.List(pl.Int64), "a list (a whole number)"),
        (pl.Struct({"id": pl.String, "n": pl.Float64}), "a record of id (text), n (a number)"),
    ],
)
def test_types(dtype: pl.DataType, words: str) -> None:
    assert type_in_words(dtype) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "nothing"),
        ("1,5", "'1,5'"),
        (1.5, "1.5"),
        (True, "true"),
        (time(1, 2), "01:02:00"),
        (date(2024, 3, 1), "2024-03-01"),
        (datetime(2024, 3, 1, 10, tzinfo=UTC), "2024-03-01 10:00:00+00:00"),
        ([date(2024, 3, 1)], '["2024-03-01"]'),
        (["x" * 100], f'["{"x" * 37}…'),
    ],
)
def test_values(value: object, words: str) -> None:
    assert value_in_words(value) == words


def test_errors_are_in_words() -> None:
    with pytest.raises(InvalidData, match=r"expected a whole number, got '1\.5'"):
        conform(pl.DataFrame({"n": ["1.5"]}), {"n": pl.Int32()}, optional=set(), file="f.csv")
    with pytest.raises(InvalidData, match="expected a number, found a list"):
        conform(pl.DataFrame({"n": [["1"]]}), {"n": pl.Float64()}, optional=set(), file="f.csv")
    with pytest.raises(InvalidData, match="expected an id, got nothing"):
        require(pl.DataFrame({"n": [None]}), pl.lit(False), "f.csv", "n", "an id")
