"""A copy on a GPU changes how candidates are found, and never the answer."""

from collections.abc import Iterator

import numpy as np
import pytest

from indexer.index.faiss_backend import FaissEngine
from indexer.index.faiss_module import load_faiss
from indexer.index.gpu import MOST, GpuCopy
from indexer.index.kinds import kind_of
from indexer.index.vector_index import NOISE, VectorIndex

COUNT, WIDTH = 20_000, 32


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


RANDOM = np.random.default_rng(0)
VECTORS = unit(
    RANDOM.standard_normal((500, WIDTH))[np.arange(COUNT) % 500] + 0.2 * RANDOM.standard_normal((COUNT, WIDTH))
)
QUERIES = VECTORS[:20]
HALF = np.arange(COUNT) % 2 == 0
SOME = np.arange(COUNT) % 4 == 0  # more than are looked at one by one


class Deaf:
    """What a search on a GPU is like: it takes a selector and never looks at it."""

    def __init__(self, index: VectorIndex) -> None:
        assert isinstance(index.engine, FaissEngine)
        self._index, self.ntotal, self.asked = index.engine._index, len(index), list[int]()

    def search(self, queries: np.ndarray, k: int, params: object = None) -> tuple[np.ndarray, np.ndarray]:
        assert k <= MOST
        self.asked.append(k)
        found: tuple[np.ndarray, np.ndarray] = self._index.search(queries, k, params=params)
        return found


def with_copy(index: VectorIndex, deaf: Deaf) -> VectorIndex:
    assert isinstance(index.engine, FaissEngine)
    return VectorIndex(FaissEngine(index.engine._index, index.form, GpuCopy(deaf, index.form)), index.form)


@pytest.fixture(params=["flat", "fp16", "ivf-fp16", "ivf-sq8"])
def index(request: pytest.FixtureRequest) -> VectorIndex:
    return VectorIndex.build([VECTORS], kind=kind_of(request.param), expected=COUNT)


def agree(index: VectorIndex, moved: VectorIndex) -> Iterator[bool]:
    for k in (1, 10, MOST - 8, 3000):
        for allowed in (None, HALF, SOME):
            before, after = index.search(QUERIES, k, allowed), moved.search(QUERIES, k, allowed)
            yield bool((before.positions == after.positions).mean() > 0.999)
            yield bool(np.abs(before.scores - after.scores).max() < 1e-5)
            yield allowed is None or bool(allowed[after.positions].all())


def test_filters_and_large_k_get_the_same_answer(index: VectorIndex) -> None:
    deaf = Deaf(index)
    moved = with_copy(index, deaf)
    assert all(agree(index, moved))
    assert 18 in deaf.asked, "a plain search is asked there"
    assert max(deaf.asked) > 18, "and one with a filter for more than it wants"


def test_a_filter_that_leaves_too_few_is_asked_where_it_is_heard(index: VectorIndex) -> None:
    moved, far = with_copy(index, Deaf(index)), VECTORS @ QUERIES[0] < 0
    before, after = index.search(QUERIES[:1], 10, far), moved.search(QUERIES[:1], 10, far)
    assert far[after.positions].all()
    assert np.allclose(before.scores, after.scores, atol=NOISE) or index.form.kind.breadth
    assert after.positions.shape == before.positions.shape == (1, 10)


def test_without_a_gpu_it_stays_where_it_is(index: VectorIndex) -> None:
    if load_faiss().get_num_gpus():
        pytest.skip("there is one")
    assert not index.move_to_gpu()


@pytest.mark.gpu
def test_on_a_gpu_the_answers_are_the_same(index: VectorIndex) -> None:
    moved = index.searched(index.form.breadth)
    assert moved.move_to_gpu()
    assert all(agree(index, moved))


@pytest.mark.gpu
def test_a_tiny_index_and_a_graph_stay_on_the_cpu() -> None:
    assert not VectorIndex.build([VECTORS[:100]]).move_to_gpu()
    assert not VectorIndex.build([VECTORS], kind=kind_of("hnsw")).move_to_gpu()
