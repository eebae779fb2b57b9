"""An index with vectors appended and others that may no longer be found: it answers as one that was built so."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.index.appended_vectors import AppendedVectors
from indexer.index.backend import NOISE, Neighbours
from indexer.index.exact_ranking import exact_scores, rank
from indexer.index.faiss_backend import FaissBackend
from indexer.index.faiss_factory import load_faiss
from indexer.index.index_file import IndexFile
from indexer.index.kinds import DISK, kind_from_name
from indexer.index.selection import Selection
from indexer.index.vector_index import VectorIndex
from tests.indexer.index.disk_world import on_disk
from tests.indexer.index.toy_vectors import CountingBackend, counted, unit_vectors
from ubm_embed.data.arrays import BoolArray
from ubm_embed.errors import InvalidData

COUNT, WIDTH = 1200, 16
BASE = unit_vectors(COUNT, WIDTH)
# Some equal vectors of the base, so there are ties between old and new.
NEW = np.concatenate([unit_vectors(1500, WIDTH, seed=1), BASE[:30], BASE[:30]])
QUERIES = unit_vectors(24, WIDTH, seed=2)
EXACT, IN_LISTS = ["flat", "fp16", "SQ8"], ["ivf-fp16", "ivf-sq8", "IVF16,SQ8"]
OTHERS = ["ivf-pq", "hnsw", "PCA12,IVF16,SQfp16,RFlat", "disk"]
FILES: dict[str, VectorIndex] = {}


@pytest.fixture(scope="module", autouse=True)
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An index of each kind, mapped from its file."""
    folder = tmp_path_factory.mktemp("indexes")
    for name in EXACT + IN_LISTS + OTHERS[:-1]:
        built = VectorIndex.build([BASE], kind=kind_from_name(name), expected=COUNT)
        built.save(folder / name)
        FILES[name] = VectorIndex.load(folder / name, built.spec)
    FILES[DISK.name] = on_disk(folder / "disk", [BASE])
    yield
    FILES.clear()


def revised(base: VectorIndex, parts: list[np.ndarray], mask: BoolArray | None) -> VectorIndex:
    appended = AppendedVectors.empty(base)
    for part in parts:
        appended = appended.extended(part)
    return base.revised(appended, None if mask is None else Selection(mask))


def built_with(base: VectorIndex, vectors: np.ndarray) -> VectorIndex:
    """What a refresh comes to: an index of these vectors, with the codes and centroids of the old one."""
    assert isinstance(base.backend, FaissBackend)
    index = base.backend.empty_like()
    index.add(vectors)
    if base.max_search_value == base.spec.nlist:
        index.make_direct_map()
    return VectorIndex(FaissBackend(IndexFile(index), base.spec), base.spec)


def everywhere(index: VectorIndex) -> VectorIndex:
    return index.with_search_value(index.max_search_value)


def mostly(count: int, seed: int = 0, share: float = 0.9) -> BoolArray:
    mask: BoolArray = np.random.default_rng(seed).random(count) < share
    return mask


def assert_same(found: Neighbours, right: Neighbours, positions: np.ndarray) -> None:
    """The same to the last bit; `positions` are those of the vectors in the index that is right."""
    assert found.positions.tolist() == positions[right.positions].tolist()
    assert found.scores.tobytes() == right.scores.tobytes()


@pytest.mark.parametrize("name", EXACT + IN_LISTS)
@pytest.mark.parametrize("k", [1, 10, 300, 5000])
def test_it_answers_as_an_index_that_was_built_so(name: str, k: int) -> None:
    base, mask = FILES[name], mostly(COUNT + 300)
    index = revised(base, [NEW[:200], NEW[200:200], NEW[200:300]], mask)
    right = built_with(base, np.concatenate([BASE, NEW[:300]])[mask])
    assert (len(index), index.kind, index.dimension) == (COUNT + 300, base.kind, WIDTH)
    for query in QUERIES[:, None]:
        assert_same(index.search(query, k), right.search(query, k), np.flatnonzero(mask))
    together, expected = index.search(QUERIES, k), right.search(QUERIES, k)
    assert together.positions.tolist() == np.flatnonzero(mask)[expected.positions].tolist()
    np.testing.assert_allclose(together.scores, expected.scores, rtol=0, atol=NOISE)


@pytest.mark.parametrize("name", EXACT + IN_LISTS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_filters_answer_as_on_an_index_that_was_built_so(name: str, share: float) -> None:
    base, mask = FILES[name], mostly(COUNT + 300)
    index, right = revised(base, [NEW[:300]], mask), built_with(base, np.concatenate([BASE, NEW[:300]])[mask])
    allowed = mask & mostly(COUNT + 300, seed=1, share=share)
    for query in QUERIES[:, None]:
        found = index.search(query, 10, Selection(allowed))
        assert_same(found, right.search(query, 10, Selection(allowed[mask])), np.flatnonzero(mask))


@pytest.mark.parametrize("name", IN_LISTS)
def test_to_allow_all_that_are_visible_is_no_filter(name: str) -> None:
    mask = mostly(COUNT)
    index = revised(FILES[name], [], mask).with_search_value(1)
    right = built_with(FILES[name], BASE[mask]).with_search_value(1)
    for query in QUERIES[:, None]:
        assert_same(index.search(query, 10, index.visible), right.search(query, 10), np.flatnonzero(mask))


OPERATIONS = st.lists(
    st.tuples(st.integers(0, 40) | st.sampled_from([1023, 1025]), st.floats(0, 1), st.integers(0, 99)), max_size=4
)


@pytest.mark.parametrize("name", ["flat", "ivf-sq8"])
@given(operations=OPERATIONS, k=st.integers(1, 20))
def test_any_history_answers_as_an_index_that_was_built_so(
    name: str, operations: list[tuple[int, float, int]], k: int
) -> None:
    base, vectors, mask = FILES[name], BASE, np.ones(COUNT, bool)
    appended = AppendedVectors.empty(base)
    for count, share, seed in operations:
        more = NEW[seed : seed + count]
        appended, vectors = appended.extended(more), np.concatenate([vectors, more])
        mask = np.append(mask, np.ones(count, bool)) & mostly(len(vectors), seed, share)
    index = everywhere(base.revised(appended, Selection(mask)))
    if not mask.any():
        assert index.search(QUERIES, k).positions.shape == (len(QUERIES), 0)
        return
    right = everywhere(built_with(base, vectors[mask]))
    for query in QUERIES[:3, None]:
        assert_same(index.search(query, k), right.search(query, k), np.flatnonzero(mask))
    stored = index.vectors(np.flatnonzero(mask))
    assert stored.tobytes() == right.vectors(np.arange(int(mask.sum()))).tobytes()


@pytest.mark.parametrize("name", OTHERS)
def test_other_kinds_find_the_nearest_of_all(name: str) -> None:
    base, mask = FILES[name], mostly(COUNT + 300)
    index = everywhere(revised(base, [NEW[:300]], mask))
    found = index.search(QUERIES, 10)
    positions = np.tile(np.flatnonzero(mask), (len(QUERIES), 1))
    right = rank(exact_scores(index.vectors, QUERIES, positions), positions, 10)
    shares = [np.isin(*both).mean() for both in zip(right.positions, found.positions, strict=True)]
    assert np.mean(shares) >= (0.85 if "PCA" in name else 0.99)
    assert (found.positions >= COUNT).any()
    assert mask[found.positions].all()
    for query, near, scores in zip(QUERIES, *found[::-1], strict=True):
        np.testing.assert_allclose(index.scores(query, near), scores, rtol=0, atol=NOISE)


@pytest.mark.parametrize("name", EXACT + IN_LISTS + OTHERS)
class TestEveryKind:
    def test_nothing_appended_and_nothing_gone_is_the_index_itself(self, name: str) -> None:
        base = FILES[name]
        index = revised(base, [], None)
        for k in (1, 10, COUNT):
            found, right = index.search(QUERIES[:2], k), base.search(QUERIES[:2], k)
            assert (found.positions == right.positions).all()
            np.testing.assert_allclose(found.scores, right.scores, rtol=0, atol=NOISE)

    def test_only_visible_vectors_are_found_and_all_of_them(self, name: str) -> None:
        mask = mostly(COUNT + 50, share=0.5)
        index = revised(FILES[name], [NEW[:50]], mask)
        assert index.visible is not None
        everything = np.flatnonzero(mask).tolist()
        assert sorted(index.search(QUERIES[:1], 5000).positions[0].tolist()) == everything
        walked = np.concatenate([part.positions[0] for part in index.search_all(QUERIES[0])])
        assert sorted(walked.tolist()) == everything
        assert (np.diff(index.scores(QUERIES[0], walked)) <= 0).all()

    def test_appended_vectors_alone_may_be_visible(self, name: str) -> None:
        index = revised(FILES[name], [NEW[:50]], np.arange(COUNT + 50) >= COUNT)
        found = index.search(NEW[:50], 1).positions[:, 0]
        assert found.tolist() == list(range(COUNT, COUNT + 50))

    def test_nothing_may_be_visible(self, name: str) -> None:
        index = revised(FILES[name], [NEW[:5]], np.zeros(COUNT + 5, bool))
        assert index.search(QUERIES, 10).positions.shape == (len(QUERIES), 0)
        assert not sum(part.positions.size for part in index.search_all(QUERIES[0]))

    def test_no_queries_get_no_matches(self, name: str) -> None:
        index = revised(FILES[name], [NEW[:5]], mostly(COUNT + 5))
        assert index.search(QUERIES[:0], 10).positions.shape == (0, 10)

    def test_vectors_come_in_the_order_of_their_positions(self, name: str) -> None:
        index = revised(FILES[name], [NEW[:5], NEW[5:9]], None)
        positions = np.array([COUNT + 8, 3, COUNT, 3, COUNT + 5])
        lost = 0.5 if "PCA" in name else 0.05
        wanted = np.concatenate([BASE, NEW[:9]])[positions]
        np.testing.assert_allclose(index.vectors(positions), wanted, rtol=0, atol=lost)
        assert index.vectors(positions[:0]).shape == (0, WIDTH)


@pytest.mark.parametrize("name", ["flat", "ivf-fp16"])
def test_what_is_near_may_all_be_gone(name: str) -> None:
    """So that a search without a selector would find nothing that is visible."""
    near = np.argsort(-(BASE @ QUERIES[0]))[:100]
    mask = ~np.isin(np.arange(COUNT + 50), near)
    index = everywhere(revised(FILES[name], [NEW[:50]], mask))
    right = everywhere(built_with(FILES[name], np.concatenate([BASE, NEW[:50]])[mask]))
    found = [index.search(QUERIES, 10).positions[:1], index.search(QUERIES[:1], 10).positions]
    for positions in found:
        assert positions.tolist() == np.flatnonzero(mask)[right.search(QUERIES[:1], 10).positions].tolist()


@pytest.mark.parametrize("name", ["fp16", "ivf-sq8"])
def test_an_older_snapshot_answers_as_before_while_others_extend_it(name: str) -> None:
    base = FILES[name]
    appended = AppendedVectors.empty(base).extended(NEW[:20])
    index = base.revised(appended, None)
    before = index.search(QUERIES, 10)
    with ThreadPoolExecutor(4) as threads:
        searches = [threads.submit(index.search, QUERIES, 10) for _ in range(20)]
        for first in range(20, 1500, 370):
            appended = appended.extended(NEW[first : first + 370])
    assert all((search.result().positions == before.positions).all() for search in searches)
    assert (len(index), len(appended)) == (COUNT + 20, 1500)


@pytest.mark.parametrize("name", [*IN_LISTS, "ivf-pq"])
def test_appended_vectors_are_compared_in_the_nearest_lists_only(name: str) -> None:
    appended, work = AppendedVectors.empty(FILES[name]).extended(NEW), load_faiss().cvar.indexIVF_stats
    compared = []
    for nprobe in (1, FILES[name].spec.nlist):
        work.reset()
        appended.search(QUERIES[:1], 10, nprobe, None)
        compared.append(work.ndis)
    assert compared[0] < len(NEW) / 2 < compared[1] == len(NEW)


def test_a_backend_of_another_kind_takes_vectors_as_they_are() -> None:
    base = VectorIndex(CountingBackend(FILES["flat"].backend), FILES["flat"].spec)
    index = revised(base, [NEW[:5]], None)
    assert (index.vectors(np.arange(COUNT, COUNT + 5)) == NEW[:5]).all()
    assert index.search(NEW[3:4], 1).positions.tolist() == [[COUNT + 3]]


def test_a_filter_that_excludes_what_is_near_takes_one_search() -> None:
    base, counting = counted(FILES["ivf-fp16"])
    index = revised(base, [NEW[:5]], mostly(COUNT + 5))
    near = index.search(QUERIES[:1], 40).positions[0]
    assert index.visible is not None
    counting.searches.clear()
    found = index.backend.search(QUERIES[:1], 10, index.max_search_value, index.visible.without(near))
    assert len(counting.searches) == 1
    assert not {*found.positions[0].tolist()} & {*near.tolist()}


@pytest.mark.parametrize("vectors", [np.zeros((3, 8), np.float32), np.zeros(16, np.float32)])
def test_vectors_of_another_width_are_refused(vectors: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected vectors \[N, 16\]"):
        AppendedVectors.empty(FILES["fp16"]).extended(vectors)


@pytest.mark.parametrize("name", ["fp16", "ivf-sq8"])
def test_a_file_that_was_cut_short_is_named(name: str, tmp_path: Path) -> None:
    file = tmp_path / "index"
    VectorIndex.build([BASE], kind=kind_from_name(name), expected=COUNT).save(file)
    base = VectorIndex.load(file, FILES[name].spec)
    index = revised(base, [NEW[:5]], None)
    with open(file, "r+b") as stream:
        stream.truncate(100)
    with pytest.raises(InvalidData, match="cut short"):
        index.search(QUERIES, 10)
    with pytest.raises(InvalidData, match="cut short"):
        AppendedVectors.empty(base).extended(NEW[:5])
