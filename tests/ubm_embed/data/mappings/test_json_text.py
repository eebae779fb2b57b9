"""JSON in cells: what is at a path, against the parser of the standard library, for any JSON."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.mappings.json_text import PROBLEM, decode_lists, decode_records, joined_lists

TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
NAMES = st.text("abc", min_size=1, max_size=2)
SCALARS = st.none() | st.booleans() | st.integers() | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))


def reference(value: Any) -> str | None:
    """A value as text."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


@given(
    st.lists(st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES, max_size=3) | VALUES, max_size=3), min_size=1),
    NAMES,
    NAMES,
)
def test_the_value_at_a_path_is_that_of_the_standard_library(records: list[Any], outer: str, inner: str) -> None:
    texts = pl.Series(list(map(json.dumps, records)))
    found = decode_records(texts, [(outer,), (outer, inner)]).struct.unnest()
    assert found[PROBLEM].null_count() == len(records)
    assert found["0"].to_list() == [reference(record.get(outer)) for record in records]
    for record, value in zip(records, found["1"], strict=True):
        if isinstance(record.get(outer), dict):
            assert value == reference(record[outer].get(inner))


@given(st.lists(VALUES, max_size=4))
def test_the_entries_of_a_list_are_those_of_the_standard_library(entries: list[Any]) -> None:
    (found,) = decode_lists(pl.Series([json.dumps(entries)]))
    assert (None if found is None else found.to_list()) == (list(map(reference, entries)) or None)


@given(st.lists(st.text(), max_size=4))
def test_no_text_stops_a_decoder(texts: list[str]) -> None:
    series = pl.Series("cell", texts, dtype=pl.String)
    assert decode_records(series, [("a", "b"), ("0",)]).len() == len(texts)
    assert decode_lists(series).len() == len(texts)
    assert joined_lists(series, ", ").len() == len(texts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('["a", 1, null, ""]', "a/1"),
        ("[]", ""),
        ('[{"a": 1}]', '[{"a": 1}]'),
        ("[not json", "[not json"),
        ("[" * 100_000, "[" * 100_000),
        ("plain", "plain"),
        (None, None),
    ],
)
def test_lists_of_values_are_joined_and_other_texts_stay(text: str | None, expected: str | None) -> None:
    assert joined_lists(pl.Series([text], dtype=pl.String), "/").to_list() == [expected]


def test_numbers_stay_as_they_are_written() -> None:
    text = '{"price": 1.50, "id": 123456789012345678901234567890, "bad": NaN}'
    found = decode_records(pl.Series([text]), [("price",), ("id",), ("bad",)]).struct.unnest()
    assert found.row(0) == ("1.50", "123456789012345678901234567890", None, None)
