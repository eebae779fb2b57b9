"""Numbers for values: equal values have equal numbers, whether they are numbered together or later."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.catalogue.column_codes import codes_beside, codes_of, encoded

DAY = datetime.date(2026, 1, 31)
VALUES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "text": (pa.string(), ["a", "b", "", "aa"]),
    "large text": (pa.large_string(), ["a", "b"]),
    "integers": (pa.int64(), [0, -1, 2**60]),
    "numbers": (pa.float64(), [0.0, 1.5, float("nan"), float("inf")]),
    "booleans": (pa.bool_(), [True, False]),
    "days": (pa.date32(), [DAY, DAY + datetime.timedelta(1)]),
    "decimals": (pa.decimal128(10, 2), [Decimal("1.50"), Decimal("2.00")]),
}
CHUNKS = st.lists(st.lists(st.integers(-1, 3), max_size=4), max_size=3)


def column(kind: pa.DataType, values: Sequence[Any], chunks: list[list[int]]) -> pa.ChunkedArray:
    """A column of some of the values, by their number; -1 is null."""
    arrays = [[None if at < 0 else values[at % len(values)] for at in chunk] for chunk in chunks]
    return pa.chunked_array([pa.array(array, kind) for array in arrays], kind)


@pytest.mark.parametrize("name", VALUES)
@settings(max_examples=15)
@given(known=CHUNKS, added=CHUNKS)
def test_further_values_are_numbered_as_if_they_had_been_there(
    name: str, known: list[list[int]], added: list[list[int]]
) -> None:
    kind, values = VALUES[name]
    first, second = column(kind, values, known), column(kind, values, added)
    codes = encoded(first)
    assert codes.codes.tolist() == codes_of(first).tolist()
    both = np.concatenate([codes.codes, codes_beside(codes, second)])
    together = codes_of(pa.chunked_array([*first.chunks, *second.chunks], kind))
    assert both.dtype == np.int32
    assert (both == -1).tolist() == (together == -1).tolist()
    assert len(set(zip(both, together, strict=True))) == len(set(both)) == len(set(together))


def test_what_nested_codes_stand_for_is_not_known() -> None:
    tags = pa.chunked_array([pa.array([["a"], None, ["a"]])])
    assert encoded(tags).codes.tolist() == codes_of(tags).tolist()
    with pytest.raises(ValueError, match="nested"):
        codes_beside(encoded(tags), tags)
