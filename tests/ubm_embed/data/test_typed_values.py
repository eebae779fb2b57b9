"""Values in the type of the column that they go into."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.typed_values import as_type, first_unlike

TIME = datetime(2026, 11, 30, 12, 30)
OPENS = [time(5, 6, 7), time(5, 6), time(5, 6, 7, 500_000)]


@pytest.mark.parametrize(
    ("name", "values", "dtype", "expected"),
    [
        ("price", ["9.5", "12,50 €", " 3 ", "-", None], pl.Float64(), [9.5, 12.5, 3.0, None, None]),
        ("weight", ["9.5", "1e3", "NaN"], pl.Float64(), [9.5, 1000.0, None]),
        ("stock", ["9", "0"], pl.Int64(), [9, 0]),
        ("in_stock", ["true", "0", "Yes", "out of stock", ""], pl.Boolean(), [True, False, True, False, None]),
        ("colour", ["red", "-", "007"], pl.String(), ["red", "-", "007"]),
        ("since", ["2026-11-30", "2026-11-30T12:30:00"], pl.Datetime("us"), [datetime(2026, 11, 30), TIME]),
        ("since", ["2026-11-30T13:30:00+01:00"], pl.Datetime("ms", "UTC"), [TIME.replace(tzinfo=UTC)]),
        ("since", ["2026-11-30"], pl.Date(), [date(2026, 11, 30)]),
        ("opens", ["05:06:07", "05:06", "05:06:07.5", ""], pl.Time(), [*OPENS, None]),
        ("tags", ['["a", "b"]', None], pl.List(pl.String), [["a", "b"], None]),
        ("code", [7, 8], pl.String(), ["7", "8"]),
        ("code", [7.0, None], pl.String(), ["7", None]),
        ("stock", [7.0, None], pl.Int64(), [7, None]),
        ("price", [7, None], pl.Float64(), [7.0, None]),
        ("in_stock", [1, 0, None], pl.Boolean(), [True, False, None]),
        ("since", [TIME], pl.Datetime("us", "UTC"), [TIME.replace(tzinfo=UTC)]),
        ("anything", [None, None], pl.Date(), [None, None]),
    ],
)
def test_values_are_read_as_a_catalogue_is(
    name: str, values: list[Any], dtype: pl.DataType, expected: list[Any]
) -> None:
    series = pl.Series(name, values)
    cast = as_type(series, dtype)
    assert cast.dtype == dtype
    assert cast.name == name
    assert cast.to_list() == expected
    assert first_unlike(series, cast) is None


@pytest.mark.parametrize(
    ("values", "dtype", "row"),
    [
        (["9.5", "cheap", "x"], pl.Float64(), 1),
        (["9", "9.5"], pl.Int64(), 1),
        (["1", "99999999999999999999"], pl.Int64(), 1),
        ([1.0, 2.5], pl.Int64(), 1),
        ([1, 300], pl.Int8(), 1),
        (["true", "maybe"], pl.Boolean(), 1),
        ([0, 2], pl.Boolean(), 1),
        (["yesterday"], pl.Datetime("us"), 0),
        (["2026-13-01"], pl.Date(), 0),
        (["05:06", "25:00"], pl.Time(), 1),
    ],
)
def test_the_first_value_of_another_type_is_found(values: list[Any], dtype: pl.DataType, row: int) -> None:
    series = pl.Series("column", values)
    assert first_unlike(series, as_type(series, dtype)) == row


@pytest.mark.parametrize(
    ("values", "dtype"),
    [(["[1"], pl.List(pl.Int64)), ([[1]], pl.Float64()), ([[1]], pl.String()), ([{"a": 1}], pl.Boolean())],
)
def test_a_type_that_never_fits_is_an_error(values: list[Any], dtype: pl.DataType) -> None:
    with pytest.raises(ValueError, match=r"."):
        as_type(pl.Series("column", values), dtype)


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_written_as_text_are_the_same_numbers(numbers: list[float | None]) -> None:
    text = pl.Series("weight", [None if number is None else repr(number) for number in numbers], pl.String)
    assert as_type(text, pl.Float64()).to_list() == numbers


def test_plain_amounts_are_read_as_the_patterns_of_prices_read_them() -> None:
    amounts = [f"{whole}{part}" for whole in (0, 7, 1000, 999_999_999) for part in ("", ".0", ".5", ".05", ".99")]
    beside_a_price = as_type(pl.Series("price", [*amounts, "12,50 €"]), pl.Float64())
    assert as_type(pl.Series("price", amounts), pl.Float64()).equals(beside_a_price[:-1])
