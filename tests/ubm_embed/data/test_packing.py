"""Packing against Python lists: sequence n of the caller is found again, whole, wherever it lies."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.packing import Packing

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=12)


def sequences(lengths):
    """Element (n, position) as the number 100 n + position, in the caller's flat layout and as lists."""
    lists = [[100 * n + position for position in range(length)] for n, length in enumerate(lengths)]
    return torch.tensor([element for row in lists for element in row]), lists


@given(LENGTHS)
def test_starts_and_positions_find_every_sequence(lengths):
    flat, lists = sequences(lengths)
    packing = Packing.of(np.array(lengths))
    packed = flat[packing.elements]
    for start, expected in zip(packing.starts.tolist(), lists, strict=True):
        assert packed[start : start + len(expected)].tolist() == expected
    assert packing.positions.tolist() == (packed % 100).tolist()


@given(LENGTHS)
def test_blocks_hold_the_sequences_shortest_first_and_rank_says_which(lengths):
    flat, lists = sequences(lengths)
    packing = Packing.of(np.array(lengths))
    rows = [row.tolist() for block in packing.split(flat[packing.elements]) for row in block]
    assert [rows[rank] for rank in packing.rank.tolist()] == lists
    assert [len(row) for row in rows] == sorted(lengths)
    assert len(packing.blocks) == len(set(lengths))


@given(LENGTHS)
def test_mean_is_each_sequence_s_own_in_the_caller_s_order(lengths):
    packing = Packing.of(np.array(lengths))
    values = torch.randn(sum(lengths), 3, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([part.mean(dim=0) for part in values.split(lengths)])
    torch.testing.assert_close(packing.mean(values[packing.elements]), expected)


def test_blocks_are_views():
    packed = torch.zeros(5, 2)
    next(Packing.of(np.array([2, 1, 2])).split(packed))[:] = 1
    assert packed.sum() == 2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint64, np.int32])
def test_any_whole_number_type_of_lengths_gives_the_same(dtype):
    expected, packing = Packing.of(np.array([3, 1, 2])), Packing.of(np.array([3, 1, 2], dtype=dtype))
    assert packing.blocks == expected.blocks
    for name in ("elements", "positions", "starts", "rank"):
        assert torch.equal(getattr(packing, name), getattr(expected, name))


@pytest.mark.parametrize("lengths", [[], [2, 0]])
def test_an_empty_sequence_is_our_own_mistake(lengths):
    with pytest.raises(AssertionError):
        Packing.of(np.array(lengths, dtype=np.int64))
