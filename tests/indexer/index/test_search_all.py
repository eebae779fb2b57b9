"""Going through all vectors, best first: each once, in exact order, in one pass, and no further than asked."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.index.backend import NOISE
from indexer.index.kinds import kind_from_name
from indexer.index.selection import Selection
from indexer.index.vector_index import VectorIndex
from tests.indexer.index.toy_vectors import counted, unit_vectors

COUNT, WIDTH = 6000, 16
# Many equal vectors, among them more than are ranked at once.
VECTORS = np.concatenate([unit_vectors(COUNT - 2000, WIDTH), np.repeat(unit_vectors(2, WIDTH, seed=3), 1000, axis=0)])
QUERY = unit_vectors(1, WIDTH, seed=1)[0]
ALLOWED = [None, Selection(np.arange(COUNT) % 3 > 0), Selection(np.arange(COUNT) % 50 == 0)]


@pytest.fixture(scope="module", params=["flat", "fp16", "ivf-fp16", "ivf-sq8", "ivf-pq", "hnsw", "PCA8,IVF16,SQ8"])
def index(request: pytest.FixtureRequest) -> VectorIndex:
    return VectorIndex.build([VECTORS], kind=kind_from_name(request.param), expected=COUNT)


@pytest.mark.parametrize("allowed", ALLOWED)
def test_all_come_in_the_order_of_their_scores(index: VectorIndex, allowed: Selection | None) -> None:
    parts = list(index.search_all(QUERY, allowed))
    positions = np.concatenate([part.positions[0] for part in parts])
    scores = np.concatenate([part.scores[0] for part in parts])
    everything = np.arange(COUNT) if allowed is None else allowed.positions
    right = index.scores(QUERY, everything)
    expected = np.lexsort((everything, -right))
    assert positions.tolist() == everything[expected].tolist()
    np.testing.assert_array_equal(scores, right[expected])


def test_they_begin_as_a_search(index: VectorIndex) -> None:
    nearest, first = index.search(QUERY[None], 10), next(index.search_all(QUERY))
    if index.spec.kind.search_parameter is None:
        assert first.positions[0, :10].tolist() == nearest.positions[0].tolist()
    np.testing.assert_array_less(nearest.scores[0], first.scores[0, :10] + NOISE)


def test_it_is_one_pass_and_vectors_are_read_as_far_as_asked() -> None:
    index, backend = counted(VectorIndex.build([VECTORS[:4000]], kind=kind_from_name("ivf-fp16"), expected=4000))
    parts = index.search_all(QUERY)
    next(parts)
    assert (len(backend.searches), backend.vectors_read) == (1, 512)
    assert 3400 < sum(part.positions.size for part in parts) < 4000
    assert (len(backend.searches), backend.vectors_read) == (1, 4000)


def test_among_none_there_are_none(index: VectorIndex) -> None:
    assert list(index.search_all(QUERY, Selection(np.zeros(COUNT, bool)))) == []


def test_an_impossible_query_is_refused(index: VectorIndex) -> None:
    with pytest.raises(ValueError, match="not finite"):
        index.search_all(np.full(WIDTH, np.nan, np.float32))


def test_k_far_beyond_all_is_cut(index: VectorIndex) -> None:
    assert index.search(QUERY[None], 10**9).positions.shape == (1, COUNT)
