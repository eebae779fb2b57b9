"""What every kind of index promises, in a world whose right answers are known."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from indexer.index.backend import NOISE
from indexer.index.faiss_factory import training_sample
from indexer.index.kinds import DISK, FLAT, FP16, HNSW, KINDS, IndexKind, kind_from_name
from indexer.index.lance_backend import LanceBackend
from indexer.index.selection import Selection
from indexer.index.vector_index import VectorIndex
from tests.indexer.index.disk_world import on_disk
from tests.indexer.index.toy_vectors import EPS, unit
from ubm_embed.errors import InvalidData

GROUPS, MEMBERS, WIDTH = 625, 16, 32
COUNT = GROUPS * MEMBERS
NAMES = [
    "flat",
    "fp16",
    "ivf-fp16",
    "ivf-sq8",
    "ivf-pq",
    "hnsw",
    "IVF64,SQ8",
    "PCA24,IVF64,SQfp16,RFlat",
    "SQ8",
    "disk",
]
# Eight bits divide the range of a value, about 1, into 255 steps, of which a stored value is off by half a step: by
# 0.002 in each of 32 products with a unit vector, so by 0.011 in their sum at the very most.
CODED = 0.02
# A sum of 32 products in float32.
SUMMED = WIDTH * EPS


def normal(*shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


CENTRES = unit(normal(GROUPS, WIDTH, seed=0))
ORDER = np.random.default_rng(1).permutation(COUNT)
# The group of each vector: the nearest sixteen of a centre are its group's, by far.
GROUP = np.repeat(np.arange(GROUPS), MEMBERS)[ORDER]
VECTORS = unit(CENTRES[GROUP] + 0.05 * normal(COUNT, WIDTH, seed=2))


@pytest.fixture(scope="module")
def built() -> dict[str, VectorIndex]:
    """Indexes that were built before."""
    return {}


@pytest.fixture(params=NAMES)
def kind(request: pytest.FixtureRequest) -> IndexKind:
    return kind_from_name(request.param)


@pytest.fixture
def index(kind: IndexKind, built: dict[str, VectorIndex], tmp_path_factory: pytest.TempPathFactory) -> VectorIndex:
    """The world's, in each kind; built of several parts."""
    if kind.factory not in built:
        parts = [VECTORS[:3000], VECTORS[3000:3000], VECTORS[3000:]]
        built[kind.factory] = build(parts, kind, tmp_path_factory.mktemp("table"))
    return built[kind.factory]


def build(parts: list[np.ndarray], kind: IndexKind, folder: Path) -> VectorIndex:
    if kind is DISK:
        return on_disk(folder, parts)
    return VectorIndex.build(parts, kind=kind, expected=sum(map(len, parts)))


class TestContract:
    def test_it_is_of_the_requested_kind(self, index: VectorIndex, kind: IndexKind) -> None:
        assert (index.kind, len(index), index.dimension) == (kind.name, COUNT, WIDTH)

    def test_the_nearest_are_the_groups(self, index: VectorIndex) -> None:
        nearest = index.search(CENTRES[:100], 10)
        assert (GROUP[nearest.positions] == np.arange(100)[:, None]).all()
        assert (np.diff(nearest.scores, axis=1) <= 0).all()
        right = np.einsum("bd,bkd->bk", CENTRES[:100], VECTORS[nearest.positions])
        np.testing.assert_allclose(nearest.scores, right, atol=CODED)

    def test_scores_are_those_of_the_vectors_that_it_gives_back(self, index: VectorIndex) -> None:
        nearest = index.search(CENTRES[:1], 10)
        np.testing.assert_allclose(index.scores(CENTRES[0], nearest.positions[0]), nearest.scores[0], atol=NOISE)
        stored = index.vectors(nearest.positions[0])
        np.testing.assert_allclose(stored @ CENTRES[0], nearest.scores[0], atol=SUMMED)
        lost = 0.3 if "PCA" in index.spec.factory else CODED  # eight of 32 dimensions are gone
        np.testing.assert_allclose(stored, VECTORS[nearest.positions[0]], atol=lost)

    def test_a_query_gets_the_same_answer_alone_and_in_a_batch(self, index: VectorIndex) -> None:
        together = index.search(CENTRES[:64], 10)
        for row in range(64):
            alone = index.search(CENTRES[row : row + 1], 10)
            assert alone.positions[0].tolist() == together.positions[row].tolist()
            np.testing.assert_allclose(alone.scores[0], together.scores[row], atol=NOISE)

    @pytest.mark.parametrize("members", [8, 1])
    def test_the_nearest_of_the_allowed_vectors_are_found(self, index: VectorIndex, members: int) -> None:
        """With half of the vectors allowed, and with so few that they are compared one by one."""
        allowed = np.zeros(COUNT, bool)
        for group in range(GROUPS):
            allowed[np.flatnonzero(group == GROUP)[:members]] = True
        nearest = index.search(CENTRES[:50], members, Selection(allowed))
        assert allowed[nearest.positions].all()
        assert (GROUP[nearest.positions] == np.arange(50)[:, None]).all()

    def test_all_allowed_vectors_may_be_far_away(self, index: VectorIndex) -> None:
        query = CENTRES[:1]
        allowed = VECTORS @ query[0] < 0  # about half
        nearest = index.search(query, 30, Selection(allowed))
        assert nearest.positions.shape == (1, 30)
        assert allowed[nearest.positions].all()
        assert np.unique(nearest.positions).size == 30

    @pytest.mark.parametrize("available", [0, 1, 3])
    def test_k_is_cut_to_the_number_of_allowed_vectors(self, index: VectorIndex, available: int) -> None:
        allowed = np.zeros(COUNT, bool)
        allowed[[17, 3, 9_999][:available]] = True
        nearest = index.search(CENTRES[:2], 10, Selection(allowed))
        assert [sorted(row) for row in nearest.positions.tolist()] == [sorted([17, 3, 9_999][:available])] * 2

    @pytest.mark.parametrize("k", [COUNT - 1, COUNT, 2 * COUNT])
    def test_a_search_for_all_vectors_finds_them_all(self, index: VectorIndex, k: int) -> None:
        nearest = index.search(CENTRES[:2], k)
        assert nearest.positions.shape == (2, min(k, COUNT))
        assert all(np.unique(row).size == min(k, COUNT) for row in nearest.positions)
        assert (np.diff(nearest.scores, axis=1) <= 0).all()

    def test_a_saved_index_answers_as_before(self, index: VectorIndex, tmp_path: Path) -> None:
        if isinstance(index.backend, LanceBackend):
            pytest.skip("it is where it was built")
        index.save(tmp_path / "index")
        loaded = VectorIndex.load(tmp_path / "index", index.spec)
        before, after = index.search(CENTRES[:20], 10), loaded.search(CENTRES[:20], 10)
        assert (after.positions == before.positions).all()
        assert after.scores.tobytes() == before.scores.tobytes()
        assert loaded.spec == index.spec

    def test_a_file_of_another_kind_is_refused(self, index: VectorIndex, kind: IndexKind, tmp_path: Path) -> None:
        if isinstance(index.backend, LanceBackend):
            pytest.skip("it has no file")
        index.save(tmp_path / "index")
        for other in KINDS.keys() - {DISK.name}:
            spec = kind_from_name("IVF32,SQ8" if other == "factory" else other).spec_for(COUNT, WIDTH)
            if other != kind.name and spec.factory != index.spec.factory:
                with pytest.raises(
                    InvalidData, match=f"expected an index '{spec.factory[:4]}.* by inner product, found"
                ):
                    VectorIndex.load(tmp_path / "index", spec)

    def test_threads_may_search_at_once_each_with_its_own_search_value(self, index: VectorIndex) -> None:
        indexes = [index, index.with_search_value(1), index.with_search_value(index.max_search_value)]
        alone = [one.search(CENTRES[:20], 10) for one in indexes]
        with ThreadPoolExecutor(6) as threads:
            searches = [threads.submit(indexes[turn % 3].search, CENTRES[:20], 10) for turn in range(30)]
        for turn, search in enumerate(searches):
            assert (search.result().positions == alone[turn % 3].positions).all()

    @pytest.mark.parametrize("count", [1, 3])
    def test_a_handful_of_vectors(self, kind: IndexKind, count: int, tmp_path: Path) -> None:
        index = build([VECTORS[:count]], kind, tmp_path)
        assert index.search(VECTORS[:1], 10).positions[0, 0] == 0
        assert sorted(index.search(VECTORS[:1], 10).positions[0]) == list(range(count))
        index.save(tmp_path / "index")
        assert len(VectorIndex.load(tmp_path / "index", index.spec)) == count

    def test_equal_vectors_score_the_same_and_are_ordered_by_position(self, kind: IndexKind, tmp_path: Path) -> None:
        copies = np.tile(VECTORS[:40], (50, 1))
        index = build([copies], kind, tmp_path)
        nearest = index.search(VECTORS[7:8], 60)
        assert nearest.positions[0, :50].tolist() == [7 + 40 * copy for copy in range(50)]
        assert np.unique(nearest.scores[0, :50]).size == 1

    def test_an_empty_catalogue_is_refused(self, kind: IndexKind, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="at least one vector"):
            build([VECTORS[:0]], kind, tmp_path)


@pytest.mark.parametrize("kind", ["ivf-fp16", "ivf-sq8", "ivf-pq", "IVF64,SQ8"])
def test_too_few_vectors_to_train_become_half_precision(kind: str) -> None:
    index = VectorIndex.build([VECTORS[:50]], kind=kind_from_name(kind))
    assert (index.kind, index.spec.factory) == ("fp16", "SQfp16")


@pytest.mark.parametrize("kind", ["fp16", "ivf-pq", "hnsw"])
def test_a_wrong_guess_at_their_number_does_no_harm(kind: str, tmp_path: Path) -> None:
    """The number of lists depends on it, so the guess is not far off."""
    whole = VectorIndex.build([VECTORS[:2000]], kind=kind_from_name(kind))
    for guess in (1999, 2000, 2040):
        parts = [VECTORS[:1000], VECTORS[1000:2000]]
        VectorIndex.build(parts, kind=kind_from_name(kind), expected=guess).save(tmp_path / "i")
        loaded = VectorIndex.load(tmp_path / "i", whole.spec)
        assert len(loaded) == 2000
        # Half precision keeps eleven binary digits of values up to 1.
        np.testing.assert_allclose(loaded.vectors(np.arange(2000)), VECTORS[:2000], atol=2**-11)


@pytest.mark.parametrize("kind", [FLAT, FP16])
def test_exact_kinds_find_what_a_plain_search_finds(kind: IndexKind) -> None:
    index, queries = VectorIndex.build([VECTORS], kind=kind), unit(normal(20, WIDTH, seed=3))
    stored = index.vectors(np.arange(COUNT)).astype(np.float64)
    for query, positions in zip(queries, index.search(queries, 10).positions, strict=True):
        scores = (stored @ query).astype(np.float32)
        right = np.array(sorted(range(COUNT), key=lambda row: (-scores[row], row))[:10])
        assert np.unique(positions).size == 10
        np.testing.assert_allclose(scores[positions], scores[right], rtol=0, atol=NOISE)  # the same, up to ties


def test_a_larger_search_value_finds_no_less() -> None:
    index, queries = VectorIndex.build([VECTORS], kind=kind_from_name("ivf-fp16")), unit(normal(50, WIDTH, seed=3))
    exact = VectorIndex.build([VECTORS], kind=FP16).search(queries, 10).positions
    values = (1, 16, index.max_search_value)
    nearest = [index.with_search_value(value).search(queries, 10).positions for value in values]
    shares = [np.mean([np.isin(row, right).mean() for row, right in zip(one, exact, strict=True)]) for one in nearest]
    assert shares[0] < 0.5 < 0.8 < shares[1] < 0.99 < shares[2]


@pytest.mark.parametrize("factory", ["hsnw", "IVF,SQ8", "IDMap,Flat", "IVF64,LSH"])
def test_a_factory_that_faiss_cannot_build_or_we_cannot_search_is_refused(factory: str) -> None:
    with pytest.raises(InvalidData) as caught:
        VectorIndex.build([VECTORS], kind=kind_from_name(factory))
    assert caught.value.field == "index"


def test_a_graph_that_does_not_lead_everywhere_still_gives_all() -> None:
    """Two worlds far apart, of which a search with a small value sees one."""
    far = np.concatenate([unit(np.abs(normal(300, WIDTH, seed=1))), -unit(np.abs(normal(300, WIDTH, seed=2)))])
    index = VectorIndex.build([far], kind=HNSW).with_search_value(1)
    assert sorted(index.search(far[:1], 600).positions[0]) == list(range(600))


def test_a_training_sample_is_from_everywhere_except_the_held_out_rows() -> None:
    parts = [np.arange(first, first + 10, dtype=np.float32)[:, None] for first in range(0, 100, 10)]
    assert training_sample(parts, 100, 1000)[:, 0].tolist() == list(range(100))
    sample = training_sample(parts, 100, 12)[:, 0]
    assert sample.size == 12
    assert {int(value) // 10 for value in sample} == set(range(10))
    without = training_sample(parts, 100, 1000, np.array([3, 50, 99]))[:, 0]
    assert set(range(100)) - set(without.astype(int)) == {3, 50, 99}
