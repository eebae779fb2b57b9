import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.arrays import offsets_of, ragged_index

ROWS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9)), max_size=12)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.uint64])
@given(ROWS)
def test_ragged_index_is_the_ranges_end_to_end(dtype, rows):
    starts = np.array([start for start, _ in rows], dtype=dtype)
    lengths = np.array([length for _, length in rows], dtype=dtype)
    expected = [place for start, length in rows for place in range(start, start + length)]
    index = ragged_index(starts, lengths)
    assert index.dtype == np.int64
    assert index.tolist() == expected


@pytest.mark.parametrize("dtype", [np.int64, np.uint8])
@given(st.lists(st.integers(0, 255), max_size=12))
def test_offsets_sum_up_the_lengths(dtype, lengths):
    offsets = offsets_of(np.array(lengths, dtype=dtype))
    assert offsets.tolist() == [sum(lengths[:row]) for row in range(len(lengths) + 1)]
