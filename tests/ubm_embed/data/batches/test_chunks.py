"""Where a batch is cut, and which process gets which chunks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.batches.chunks import Chunks

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=60).map(np.array)
TOKENS = st.none() | st.integers(1, 80)


@given(lengths=LENGTHS, tokens=TOKENS, least=st.integers(1, 5))
def test_every_sequence_is_in_one_chunk_of_about_that_size(lengths, tokens, least):
    chunks = Chunks.from_lengths(lengths, tokens, min_chunks=least)
    parts = [range(*chunks.ends(chunk)) for chunk in range(len(chunks))]
    assert [row for part in parts for row in part] == list(range(lengths.size))
    for part in parts:
        assert len(part) > 0
        assert tokens is None or lengths[list(part)].sum() < tokens + lengths.max()


@given(lengths=LENGTHS, tokens=TOKENS, world=st.integers(1, 6))
def test_every_chunk_is_one_process_s(lengths, tokens, world):
    chunks = Chunks.from_lengths(lengths, tokens, min_chunks=world)
    shares = [chunks.share(rank, world) for rank in range(world)]
    assert [chunk for share in shares for chunk in share] == list(range(len(chunks)))
    assert sum(chunks.sizes(world)) == lengths.size
    assert [size > 0 for size in chunks.sizes(world)] == [len(share) > 0 for share in shares]


def test_without_a_limit_a_batch_is_one_chunk():
    assert len(Chunks.from_lengths(np.full(1000, 64), None)) == 1
    assert len(Chunks.from_lengths(np.full(1000, 64), 64_000)) == 1


@pytest.mark.parametrize(("tokens", "count"), [(99, 2), (50, 2), (49, 4), (20, 8), (1, 100)])
def test_there_are_as_many_as_two_four_or_eight_processes_share_evenly(tokens, count):
    assert len(Chunks.from_lengths(np.ones(100, int), tokens)) == count


@pytest.mark.parametrize("world", [1, 2, 4, 8])
def test_the_cuts_are_the_same_for_any_number_of_processes(world):
    lengths = np.arange(1, 80)
    result = Chunks.from_lengths(lengths, 400, min_chunks=world)
    assert result.bounds.tolist() == Chunks.from_lengths(lengths, 400).bounds.tolist()
    tokens = [lengths[begin : begin + size].sum() for begin, size in begins(result.sizes(world))]
    assert max(tokens) - min(tokens) < 2 * lengths.max()


def test_more_processes_than_chunks_cut_smaller_ones():
    assert Chunks.from_lengths(np.ones(8, int), None, min_chunks=3).sizes(3) == [2, 2, 4]
    assert Chunks.from_lengths(np.ones(2, int), None, min_chunks=3).sizes(3) == [0, 1, 1], "one has nothing to do"


def begins(sizes):
    return zip(np.cumsum(sizes) - sizes, sizes, strict=True)
