"""Arrow arrays are read as NumPy has them, wherever they begin."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.arrow_arrays import mask, matrix, present

KINDS = {
    "numbers": (pa.int64(), 7),
    "text": (pa.string(), "x"),
    "hashes": (pa.binary(16), bytes(16)),
    "vectors": (pa.list_(pa.float32(), 2), [1.0, 2.0]),
}


@pytest.mark.parametrize(("kind", "value"), KINDS.values(), ids=list(KINDS))
@given(filled=st.lists(st.booleans(), max_size=20), first=st.integers(0, 20), count=st.integers(0, 20))
def test_values_that_are_not_null_are_found(
    kind: pa.DataType, value: object, filled: list[bool], first: int, count: int
) -> None:
    values = pa.array([value if one else None for one in filled], kind)
    assert present(values.slice(first, count)).tolist() == filled[first : first + count]


@given(values=st.lists(st.booleans(), max_size=20), first=st.integers(0, 20))
def test_booleans_are_those_of_the_array(values: list[bool], first: int) -> None:
    assert mask(pa.array(values, pa.bool_()).slice(first)).tolist() == values[first:]


@given(
    rows=st.lists(st.none() | st.lists(st.integers(-9, 9), min_size=2, max_size=2), max_size=12),
    first=st.integers(0, 12),
)
def test_vectors_that_are_not_null_are_read(rows: list[list[int] | None], first: int) -> None:
    values = pa.chunked_array(
        [pa.array(rows, pa.list_(pa.float32(), 2)).slice(first), pa.array(rows, pa.list_(pa.float32(), 2))]
    )
    assert matrix(values, 2).tolist() == [row for row in rows[first:] + rows if row is not None]
