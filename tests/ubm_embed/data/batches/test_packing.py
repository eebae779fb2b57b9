"""Packing against Python lists: sequence n of the caller is found again, whole, wherever it lies."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.batches.packing import Packing

# Short ones, one length alone, and some beyond the widest tile that there is.
LENGTHS = st.one_of(
    st.lists(st.integers(1, 9), min_size=1, max_size=40),
    st.lists(st.just(7), min_size=1, max_size=9),
    st.lists(st.integers(1, 150), min_size=1, max_size=12),
)


def sequences(lengths):
    """Element (n, position) as the number 1000 n + position, in the caller's flat layout and as lists."""
    lists = [[1000 * n + position for position in range(length)] for n, length in enumerate(lengths)]
    return torch.tensor([element for row in lists for element in row]), lists


def tile_of(packing, slot):
    return slot // packing.width


@given(LENGTHS)
def test_starts_and_positions_find_every_sequence(lengths):
    flat, lists = sequences(lengths)
    packing = Packing.from_lengths(np.array(lengths))
    packed = flat[packing.elements]
    for start, expected in zip(packing.starts.tolist(), lists, strict=True):
        assert packed[start : start + len(expected)].tolist() == expected
    assert packing.positions[packing.filled()].tolist() == (packed[packing.filled()] % 1000).tolist()
    assert packing.lengths.tolist() == lengths
    assert packing.max_length == max(lengths)


@given(LENGTHS)
def test_every_element_has_one_slot_and_no_sequence_lies_in_two_tiles(lengths):
    packing = Packing.from_lengths(np.array(lengths))
    assert sorted(packing.elements[packing.filled()].tolist()) == list(range(sum(lengths)))
    assert packing.elements.numel() == packing.tiles * packing.width
    for start, length in zip(packing.starts.tolist(), lengths, strict=True):
        assert tile_of(packing, start) == tile_of(packing, start + length - 1)


@given(LENGTHS)
def test_a_slot_attends_to_its_own_sequence_alone(lengths):
    flat, _ = sequences(lengths)
    packing = Packing.from_lengths(np.array(lengths))
    mask, owners = packing.attention_mask(), (flat[packing.elements] // 1000).view(packing.tiles, packing.width)
    if mask is None:
        assert (owners == owners[:, :1]).all()  # and so there is nothing to leave out
        return
    filled = packing.filled().view(packing.tiles, packing.width)
    both = filled[:, :, None] & filled[:, None, :]
    expected = (owners[:, :, None] == owners[:, None, :]) & both
    assert torch.equal(mask[:, 0] & both, expected)
    assert mask.any(dim=3).all()
    assert not (mask[:, 0] & (filled[:, :, None] ^ filled[:, None, :])).any()


@given(LENGTHS)
def test_a_slot_attends_causally_to_itself_and_those_before_it_in_its_sequence(lengths):
    packing = Packing.from_lengths(np.array(lengths))
    mask = packing.attention_mask(causal=True).expand(packing.tiles, 1, packing.width, packing.width)[:, 0]
    for start, length in zip(packing.starts.tolist(), lengths, strict=True):
        tile, first = divmod(start, packing.width)
        for slot in range(first, first + length):
            assert mask[tile, slot].nonzero().flatten().tolist() == [*range(first, slot + 1)]
    assert mask.any(dim=2).all(), "a softmax over nothing would be NaN"


@given(LENGTHS)
def test_element_slots_find_every_element_and_last_every_end(lengths):
    flat, lists = sequences(lengths)
    packing = Packing.from_lengths(np.array(lengths))
    packed, slots = flat[packing.elements], packing.element_slots()
    assert torch.equal(packed[slots], flat)
    assert sorted(slots.tolist()) == packing.filled().nonzero().flatten().tolist()
    assert packing.last(packed).tolist() == [row[-1] for row in lists]
    assert packing.filled()[packing.starts + packing.lengths - 1].all()


@given(LENGTHS)
def test_members_and_first_slots_agree_by_index_within_the_tile(lengths):
    packing = Packing.from_lengths(np.array(lengths))
    assert torch.equal(packing.first_slots()[packing.rank], packing.starts)
    members = packing.members()
    if members is None:
        assert packing.max_per_tile == 1
        return
    for start, length, rank in zip(packing.starts.tolist(), lengths, packing.rank.tolist(), strict=True):
        tile, number = divmod(rank, packing.max_per_tile)
        assert (tile * packing.width + members[tile, number].nonzero().flatten()).tolist() == [
            *range(start, start + length)
        ]
    assert members.sum() == sum(lengths)


@given(LENGTHS)
def test_mean_is_each_sequences_own_in_the_callers_order(lengths):
    packing = Packing.from_lengths(np.array(lengths))
    values = torch.randn(sum(lengths), 3, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([part.mean(dim=0) for part in values.split(lengths)])
    torch.testing.assert_close(packing.mean(values[packing.elements]), expected)


@pytest.mark.parametrize(("mean", "std"), [(9, 2), (14, 3), (22, 5), (30, 8), (60, 4)])
def test_few_slots_stay_empty(mean, std):
    """Lengths like those of product texts."""
    lengths = np.clip(np.random.default_rng(0).normal(mean, std, 2000).astype(int), 3, 64)
    assert lengths.sum() > 0.9 * Packing.from_lengths(lengths).elements.numel()


def test_batches_of_like_lengths_come_in_few_shapes():
    rng = np.random.default_rng(0)
    shapes = {
        (packing.tiles, packing.width)
        for packing in (Packing.from_lengths(np.clip(rng.normal(22, 5, 500).astype(int), 3, 64)) for _ in range(40))
    }
    assert len(shapes) <= 5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint64, np.int32])
def test_any_whole_number_type_of_lengths_gives_the_same(dtype):
    expected, packing = (
        Packing.from_lengths(np.array([3, 1, 2])),
        Packing.from_lengths(np.array([3, 1, 2], dtype=dtype)),
    )
    for name, value in vars(expected).items():
        found = getattr(packing, name)
        assert torch.equal(found, value) if isinstance(value, torch.Tensor) else found == value


@pytest.mark.parametrize("lengths", [[], [2, 0]])
def test_an_empty_sequence_is_refused(lengths):
    with pytest.raises(AssertionError):
        Packing.from_lengths(np.array(lengths, dtype=np.int64))


def test_a_mean_is_exact_in_any_number_format_and_under_autocast():
    lengths = [300, 2, 7]
    values = 3 + torch.rand(sum(lengths), 4, generator=torch.Generator().manual_seed(0))
    packing = Packing.from_lengths(np.array(lengths))
    expected = torch.stack([part.mean(dim=0) for part in values.split(lengths)])
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(packing.mean(values[packing.elements]), expected)
    half = values.bfloat16()
    exact = torch.stack([part.float().mean(dim=0) for part in half.split(lengths)])
    torch.testing.assert_close(packing.mean(half[packing.elements]), exact)


def test_a_tile_may_hold_more_sequences_than_a_small_number_counts():
    lengths = np.array([33_000, *[1] * 33_000])
    packing = Packing.from_lengths(lengths)
    assert packing.filled().sum() == lengths.sum()
    assert torch.equal(packing.elements[packing.starts], torch.from_numpy(np.cumsum(lengths) - lengths))


def test_many_long_sequences_are_laid_out_without_trying_every_sum():
    lengths = np.random.default_rng(0).integers(1, 3000, 4000)
    packing = Packing.from_lengths(lengths)  # every sum of them within 3,000 would be minutes
    assert packing.filled().sum() == lengths.sum()
