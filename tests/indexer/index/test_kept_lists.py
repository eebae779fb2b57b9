"""An index that is kept up over many nights is the one that FAISS makes of the same vectors with the same centroids."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.index.backend import NOISE
from indexer.index.faiss_backend import FaissBackend
from indexer.index.index_file import IndexFile
from indexer.index.kept_lists import keep_up, list_imbalance
from indexer.index.kinds import FLAT, FP16, HNSW, IVF_FP16, IVF_PQ, IVF_SQ8, IndexKind, factory_kind
from indexer.index.vector_index import VectorIndex
from tests.indexer.index.toy_vectors import unit_vectors as some

COUNT = 500


def built(kind: IndexKind, vectors: np.ndarray) -> VectorIndex:
    return VectorIndex.build([vectors], kind=kind, expected=len(vectors))


def unused(positions: np.ndarray) -> np.ndarray:
    raise AssertionError(f"no vector is added, but {positions} were asked for")


def refilled(trained: VectorIndex, vectors: np.ndarray) -> VectorIndex:
    """FAISS's own index with the centroids of another one: emptied, and filled again in the order of the vectors."""
    assert isinstance(trained.backend, FaissBackend)
    index = trained.backend.faiss_index
    index.reset()
    index.add(vectors)
    if hasattr(index, "make_direct_map"):
        index.make_direct_map()
    return VectorIndex(FaissBackend(IndexFile(index), trained.spec), trained.spec)


@pytest.fixture(scope="module", params=[FLAT, FP16, IVF_FP16, IVF_SQ8], ids=lambda kind: kind.name)
def kept_kind(request: pytest.FixtureRequest) -> IndexKind:
    kind: IndexKind = request.param
    return kind


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@given(
    seed=st.integers(0, 2**32),
    nights=st.lists(st.tuples(st.floats(0, 0.9), st.integers(0, 60)), min_size=1, max_size=20),
)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_after_many_nights_it_has_the_vectors_of_the_table(
    seed: int, nights: list[tuple[float, int]], kept_kind: IndexKind, folder: Path
) -> None:
    """Each night some vectors go, the others move to other positions, and new ones come anywhere among them."""
    rng, vectors = np.random.default_rng(seed), some(COUNT)
    trained = built(kept_kind, vectors)
    trained.save(folder / "index")
    index = VectorIndex.load(folder / "index", trained.spec)
    for night, (share, count) in enumerate(nights):
        left = rng.permutation(np.flatnonzero(rng.random(len(vectors)) >= share))
        where = np.sort(rng.integers(0, left.size + 1, max(count, int(left.size == 0))))
        old_positions = np.insert(left, where, -1)
        table = some(old_positions.size, seed=night + 1)
        table[old_positions >= 0] = vectors[left]
        assert keep_up(index, old_positions, table.__getitem__, folder / "next")
        (folder / "next").replace(folder / "index")
        index, vectors = VectorIndex.load(folder / "index", trained.spec), table
    expected = refilled(trained, vectors)
    everything = np.arange(len(vectors))
    assert len(index) == len(vectors)
    np.testing.assert_array_equal(index.vectors(everything), expected.vectors(everything))
    queries, k = some(5, seed=99), min(10, len(vectors))
    found, wanted = index.search(queries, k), expected.search(queries, k)
    np.testing.assert_array_equal(found.scores, wanted.scores)
    np.testing.assert_array_equal(found.positions, wanted.positions)


@pytest.mark.parametrize("mapped", [False, True])
def test_the_file_is_the_one_that_faiss_writes(kept_kind: IndexKind, mapped: bool, tmp_path: Path) -> None:
    index = built(kept_kind, some(COUNT))
    index.save(tmp_path / "saved")
    source = VectorIndex.load(tmp_path / "saved", index.spec) if mapped else index
    assert keep_up(source, np.arange(COUNT), unused, tmp_path / "kept")
    assert (tmp_path / "kept").read_bytes() == (tmp_path / "saved").read_bytes()


def test_lists_of_which_most_are_empty_can_be_read(tmp_path: Path) -> None:
    vectors = some(COUNT)
    index = built(IVF_FP16, vectors)
    assert keep_up(index, np.array([7, -1, 3]), lambda at: vectors[at], tmp_path / "few")
    few = VectorIndex.load(tmp_path / "few", index.spec)
    np.testing.assert_allclose(few.vectors(np.arange(3)), vectors[[7, 1, 3]], atol=1e-3)
    assert few.search(vectors[[3]], 1).positions.tolist() == [[2]]


def test_the_earlier_index_stays_as_it_was(kept_kind: IndexKind, tmp_path: Path) -> None:
    vectors, queries = some(COUNT), some(5, seed=1)
    index = built(kept_kind, vectors)
    before = index.search(queries, 10)
    assert keep_up(index, np.array([5, -1]), lambda at: vectors[at], tmp_path / "kept")
    np.testing.assert_array_equal(index.search(queries, 10).positions, before.positions)


def test_a_full_search_of_kept_lists_finds_the_exact_nearest(tmp_path: Path) -> None:
    vectors, added = some(COUNT), some(COUNT, seed=1)
    index = built(IVF_FP16, vectors)
    table = np.concatenate([vectors[100:], added[:150]])
    old_positions = np.concatenate([np.arange(100, COUNT), np.full(150, -1)])
    assert keep_up(index, old_positions, lambda at: table[at], tmp_path / "kept")
    kept = VectorIndex.load(tmp_path / "kept", index.spec).with_search_value(index.max_search_value)
    scores = added @ kept.vectors(np.arange(len(table))).T
    exact = np.sort(scores, axis=1)[:, -10:]
    found = np.take_along_axis(scores, kept.search(added, 10).positions, axis=1)
    assert (found >= exact[:, :1] - NOISE).all()


@pytest.mark.parametrize("kind", [HNSW, IVF_PQ, factory_kind("IVF8,SQ8")], ids=lambda kind: kind.name)
def test_other_kinds_are_not_kept_up(kind: IndexKind, tmp_path: Path) -> None:
    index = built(kind, some(COUNT))
    assert not keep_up(index, np.arange(COUNT), unused, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_imbalance_is_1_for_equal_lists_and_grows_with_new_products_of_one_kind(tmp_path: Path) -> None:
    vectors = some(COUNT)
    index = built(IVF_FP16, vectors)
    assert list_imbalance(built(FLAT, vectors)) == 1
    before = list_imbalance(index)
    alike = np.concatenate([vectors, np.repeat(vectors[:1], COUNT, axis=0)])
    old_positions = np.concatenate([np.arange(COUNT), np.full(COUNT, -1)])
    assert keep_up(index, old_positions, lambda at: alike[at], tmp_path / "kept")
    assert list_imbalance(VectorIndex.load(tmp_path / "kept", index.spec)) > 2 * before >= 2
