"""A copy on a GPU changes how candidates are found, and never the answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from indexer.index.backend import NOISE
from indexer.index.faiss_backend import MAX_ON_GPU, FaissBackend, GpuCopy
from indexer.index.faiss_factory import load_faiss
from indexer.index.index_file import IndexFile
from indexer.index.kinds import kind_from_name
from indexer.index.selection import Selection
from indexer.index.vector_index import VectorIndex
from tests.indexer.index.toy_vectors import unit

COUNT, WIDTH = 20_000, 32
RANDOM = np.random.default_rng(0)
VECTORS = unit(
    RANDOM.standard_normal((500, WIDTH))[np.arange(COUNT) % 500] + 0.2 * RANDOM.standard_normal((COUNT, WIDTH))
)
QUERIES = VECTORS[:20]
HALF = Selection(np.arange(COUNT) % 2 == 0)
QUARTER = Selection(np.arange(COUNT) % 4 == 0)  # more than are compared one by one


class SelectorIgnoringIndex:
    """How an index on a GPU searches: it takes a selector and never looks at it."""

    def __init__(self, index: VectorIndex) -> None:
        assert isinstance(index.backend, FaissBackend)
        self._index, self.ntotal, self.counts = index.backend._index, len(index), list[int]()

    def search(self, queries: np.ndarray, k: int, params: object = None) -> tuple[np.ndarray, np.ndarray]:
        assert k <= MAX_ON_GPU
        self.counts.append(k)
        scores, positions = self._index.search(queries, k, params=params)
        return scores, positions


class FakeFaiss:
    """The parts of faiss that copy an index to a GPU, on a machine with two; notes where each copy went."""

    def __init__(self) -> None:
        self.gpus: list[int] = []

    def get_num_gpus(self) -> int:
        return 2

    class StandardGpuResources:
        pass

    class GpuIndexFlatConfig:
        device, useFloat16 = 0, False  # noqa: N815 (faiss's name)

    def index_cpu_to_gpu(self, resources: object, gpu: int, index: Any) -> Any:
        self.gpus.append(gpu)
        return index

    def GpuIndexFlatIP(self, resources: object, width: int, config: GpuIndexFlatConfig) -> Any:  # noqa: N802
        self.gpus.append(config.device)
        return load_faiss().IndexFlatIP(width)


def with_copy(index: VectorIndex, copy: SelectorIgnoringIndex) -> VectorIndex:
    assert isinstance(index.backend, FaissBackend)
    return VectorIndex(FaissBackend(IndexFile(index.backend._index), index.spec, GpuCopy(copy, index.spec)), index.spec)


@pytest.fixture(params=["flat", "fp16", "ivf-fp16", "ivf-sq8"])
def index(request: pytest.FixtureRequest) -> VectorIndex:
    return VectorIndex.build([VECTORS], kind=kind_from_name(request.param), expected=COUNT)


def comparisons(index: VectorIndex, moved: VectorIndex) -> Iterator[bool]:
    for k in (1, 10, MAX_ON_GPU - 8, 3000):
        for allowed in (None, HALF, QUARTER):
            before, after = index.search(QUERIES, k, allowed), moved.search(QUERIES, k, allowed)
            yield bool((before.positions == after.positions).mean() > 0.999)
            yield bool(np.abs(before.scores - after.scores).max() < 1e-5)
            yield allowed is None or bool(allowed.mask[after.positions].all())


def test_filters_and_large_k_get_the_same_answer(index: VectorIndex) -> None:
    copy = SelectorIgnoringIndex(index)
    assert all(comparisons(index, with_copy(index, copy)))
    assert 18 in copy.counts, "a plain search for ten runs there, with eight candidates to spare"
    assert max(copy.counts) > 18, "and one with a filter, for more than it wants"


def test_a_filter_that_leaves_too_few_is_searched_on_the_cpu(index: VectorIndex) -> None:
    moved, far = with_copy(index, SelectorIgnoringIndex(index)), Selection(VECTORS @ QUERIES[0] < 0)
    before, after = index.search(QUERIES[:1], 10, far), moved.search(QUERIES[:1], 10, far)
    assert far.mask[after.positions].all()
    assert np.allclose(before.scores, after.scores, atol=NOISE) or index.spec.kind.search_parameter
    assert after.positions.shape == before.positions.shape == (1, 10)


@pytest.mark.parametrize("gpu", [0, 1])
def test_the_copy_goes_to_the_gpu_of_the_number(index: VectorIndex, gpu: int) -> None:
    assert isinstance(index.backend, FaissBackend)
    faiss = FakeFaiss()
    assert GpuCopy.create(index.backend._index, index.spec, gpu, faiss=faiss) is not None
    assert faiss.gpus == [gpu]


def test_a_gpu_that_the_machine_does_not_have_gets_no_copy(index: VectorIndex) -> None:
    assert isinstance(index.backend, FaissBackend)
    faiss = FakeFaiss()
    assert GpuCopy.create(index.backend._index, index.spec, 2, faiss=faiss) is None
    assert faiss.gpus == []


def test_without_a_gpu_an_index_stays_where_it_is(index: VectorIndex) -> None:
    if load_faiss().get_num_gpus():
        pytest.skip("there is one")
    assert not index.move_to_gpu()


@pytest.mark.gpu
def test_on_each_gpu_the_answers_are_the_same(index: VectorIndex) -> None:
    for gpu in range(load_faiss().get_num_gpus()):
        moved = index.with_search_value(index.spec.search_value)
        assert moved.move_to_gpu(gpu)
        assert isinstance(moved.backend, FaissBackend)
        assert moved.backend._gpu is not None
        assert moved.backend._gpu._index.getDevice() == gpu
        assert all(comparisons(index, moved))


@pytest.mark.gpu
def test_a_tiny_index_and_a_graph_stay_on_the_cpu() -> None:
    assert not VectorIndex.build([VECTORS[:100]]).move_to_gpu()
    assert not VectorIndex.build([VECTORS], kind=kind_from_name("hnsw")).move_to_gpu()
