"""Sequences in parts of similar length."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.inference.runtimes.padding import parts_by_length

LENGTHS = st.lists(st.integers(1, 64), min_size=1, max_size=200).map(np.array)


@given(LENGTHS, st.integers(64, 1_024))
def test_each_sequence_is_in_one_part_and_parts_have_a_bounded_size(lengths: np.ndarray, size: int) -> None:
    parts = parts_by_length(lengths, size)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(lengths)))
    assert all(part.size and lengths[part].sum() <= size + lengths[part].max() for part in parts)


@given(LENGTHS)
def test_a_part_has_little_padding(lengths: np.ndarray) -> None:
    for part in parts_by_length(lengths, 1_024):
        assert part.size * lengths[part].max() - lengths[part].sum() <= 24


def test_one_long_session_does_not_pad_many_short_ones() -> None:
    lengths = np.array([2] * 31 + [32])
    assert [part.size for part in parts_by_length(lengths, 1_024)] == [31, 1]
