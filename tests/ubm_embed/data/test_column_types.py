"""A column of a text file has a type if each of its values has it, or stands for none."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.column_types import column_types, first_lost, first_misfit, fits
from ubm_embed.data.mappings.column import ColumnType
from ubm_embed.data.texts import filled


def types_of(**columns: list[str | None]) -> tuple[dict[str, ColumnType], dict[str, ColumnType]]:
    frame = pl.LazyFrame(columns, schema=dict.fromkeys(columns, pl.String))
    found = column_types(frame, list(columns), [])
    return found.types, found.nearly


def values_of(name: str, texts: list[str | None]) -> list[object]:
    frame = pl.LazyFrame({name: texts}, schema={name: pl.String})
    return frame.with_columns(column_types(frame, [name], []).casts).collect()[name].to_list()


@pytest.mark.parametrize(
    ("name", "texts", "values"),
    [
        ("stock", ["1", None, "", " 3 "], [1, None, None, 3]),
        ("weight", ["1", "0.5", "1e2"], [1.0, 0.5, 100.0]),
        ("in_stock", ["true", "False", "TRUE", None], [True, False, True, None]),
        ("price", ["19,90 €", "$1,299.00", "5"], [19.9, 1299.0, 5.0]),
        ("old_price", ["1.299,00", "5,5"], [1299.0, 5.5]),
        ("price", ["-5", "5"], [-5, 5]),
        ("colour", ["19,90 €", "5"], ["19,90 €", "5"]),  # by its name no price
        ("code", ["007", "12"], ["007", "12"]),
        ("code", ["0", "1"], [0, 1]),
        ("code", ["9" * 30, "1"], ["9" * 30, "1"]),
        ("size", ["NaN", "1"], [None, 1]),
        ("size", ["NaN", "XL", "1"], ["NaN", "XL", "1"]),
        ("size", ["NaN", "-"], ["NaN", "-"]),
        ("weight", ["0.5", "nan", "null", "N/A", "undefined", "\\N", "(not set)", "-", " NA "], [0.5, *[None] * 8]),
        ("new", ["True", "false", "NaN", "true"], [True, False, None, True]),
        ("price", ["19,90 €", "call us", "null", "5"], [19.9, None, None, 5.0]),
        ("sale_price", ["call us", "5"], [None, 5.0]),
        ("price", ["call us", "ask", "5"], ["call us", "ask", "5"]),
        ("in_stock", ["1", "0", "", "N/A"], [True, False, None, None]),
        ("is_new", ["Yes", "no"], [True, False]),
        ("has_video", ["no", "no"], [False, False]),
        ("available", ["in stock", "Out of stock"], [True, False]),
        ("in_stock", ["1", "yes"], ["1", "yes"]),
        ("in_stock", ["1", "0", "7"], [1, 0, 7]),
        ("in_stock", ["in stock", "preorder"], ["in stock", "preorder"]),
        ("new", ["yes", "no"], ["yes", "no"]),
        ("stock", ["1", "0"], [1, 0]),
        ("note", [None, ""], [None, ""]),
    ],
)
def test_a_column_is_read_in_the_type_of_all_its_values(
    name: str, texts: list[str | None], values: list[object]
) -> None:
    assert values_of(name, texts) == values


WHOLE, FRACTION = ColumnType.INTEGER, ColumnType.NUMBER


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "-2", "0", None], WHOLE),
        (["1", "2.5"], FRACTION),
        (["1e3"], FRACTION),
        (["1", "2.0"], FRACTION),
        (["-0.5", "1E-3", None], FRACTION),
        ([str(2**63 - 1), str(-(2**63))], WHOLE),
        ([str(2**63)], None),
        ([str(2**63), "0.5"], FRACTION),
        (["007", "8"], None),
        (["1", ""], WHOLE),
        (["1", " 2"], WHOLE),
        (["1", "2\n"], WHOLE),
        (["+1"], None),
        (["1."], None),
        ([".5"], None),
        (["1,5"], None),
        (["nan"], None),
        (["inf"], None),
        (["0x1"], None),
        (["١"], None),  # a digit of another script
        ([None, None], None),
    ],
)
def test_a_column_is_of_numbers_where_every_value_is_written_as_one(
    texts: list[str | None], kind: ColumnType | None
) -> None:
    types, _ = types_of(n=texts)
    assert types == ({} if kind is None else {"n": kind})


def test_one_value_at_the_end_decides_for_the_whole_column() -> None:
    numbers: list[str | None] = [str(row) for row in range(10_000)]
    assert types_of(n=numbers)[0] == {"n": WHOLE}
    assert types_of(n=[*numbers, "x"])[0] == {}
    assert types_of(n=[*numbers, "0.5"])[0] == {"n": FRACTION}


def test_a_column_in_which_most_values_have_a_type_is_reported_and_left_as_it_is() -> None:
    numbers = [f"{number}.5" for number in range(20)]
    assert types_of(weight=["1", "2", "NaN", "heavy"]) == ({}, {"weight": ColumnType.NUMBER})
    assert types_of(weight=[*numbers, "call us"]) == ({}, {"weight": ColumnType.NUMBER})
    assert types_of(new=["true"] * 20 + ["?"]) == ({}, {"new": ColumnType.BOOLEAN})
    # Codes, and a column in which text is as common as numbers, were never meant to be numbers.
    assert types_of(code=[*(str(number) for number in range(1, 20)), "007"]) == ({}, {})
    assert types_of(size=["38", "40", "XL", "S"]) == ({}, {})


def test_the_first_value_that_does_not_fit_is_found() -> None:
    frame = pl.LazyFrame({"price": ["1", None, " ", "call us", "ask"]})
    assert first_misfit(frame, "price", ColumnType.PRICE, []) == (3, "call us")
    assert first_misfit(frame.head(3), "price", ColumnType.PRICE, []) is None


def test_values_that_a_typed_column_loses_are_counted_and_the_first_is_found() -> None:
    columns: dict[str, list[str | None]] = {
        "price": ["5", "", "call us", "null", "6"],
        "weight": ["5", None, "6", "-", "NaN"],
        "is_new": ["1", "0", None, " NaN ", "1"],
        "size": ["XL", "-", "NaN", "M", "S"],
        "stock": ["1", "2", "3", "", "4"],
    }
    frame = pl.LazyFrame(columns)
    found = column_types(frame, list(columns), [])
    assert found.lost == {"price": 2, "weight": 2, "is_new": 1}
    firsts = {name: first_lost(frame, name, found.types[name], []) for name in found.lost}
    assert firsts == {"price": (2, "call us"), "weight": (3, "-"), "is_new": (3, " NaN ")}
    assert first_lost(frame, "stock", found.types["stock"], []) is None


TEXTS = st.sampled_from(["1", "-2", "0.5", "1e3", "true", "False", "007", "x", "", " ", " 7", "9" * 25]) | st.none()


def reference(texts: list[str | None]) -> type:
    """The type by Python's own rules."""
    values = [text.strip() for text in texts if text and text.strip()]
    if not values:
        return str
    if all(value.lower() in ("true", "false") for value in values):
        return bool
    digits = [value.removeprefix("-") for value in values]
    if any(value[0] == "0" and value[1:2].isdigit() for value in digits) or "x" in values:
        return str
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return str
    if any(set(value) & set(".e") for value in values):
        return float
    return int if all(abs(number) < 2**63 for number in numbers) else str


@given(st.lists(TEXTS, max_size=4))
def test_the_types_are_those_of_a_slow_and_obvious_reader(texts: list[str | None]) -> None:
    types, _ = types_of(column=texts)
    expected = {int: ColumnType.INTEGER, float: ColumnType.NUMBER, bool: ColumnType.BOOLEAN}.get(reference(texts))
    assert types.get("column") == expected
    if expected in (ColumnType.INTEGER, ColumnType.NUMBER):
        read = values_of("column", texts)
        assert all(
            value is None if not (text and text.strip()) else math.isclose(float(text), value)  # type: ignore[arg-type]
            for text, value in zip(texts, read, strict=True)
        )


@given(st.lists(TEXTS, min_size=1))
def test_whether_a_value_fits_is_null_where_there_is_none(texts: list[str | None]) -> None:
    frame = pl.DataFrame({"value": texts}, schema={"value": pl.String})
    for kind in (ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.BOOLEAN, ColumnType.PRICE):
        value = filled(pl.col("value"))
        unfilled, verdict = frame.select(value.is_null().alias("unfilled"), fits(value, kind).is_null().alias("fits"))
        assert unfilled.equals(verdict, check_names=False)
