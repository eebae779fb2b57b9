"""What every kind of index promises, on a world whose right answers are known."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from indexer.index.kinds import DISK, FLAT, FP16, HNSW, KINDS, IndexKind, kind_of
from indexer.index.lance_backend import DiskEngine
from indexer.index.training_sample import training_sample
from indexer.index.vector_index import NOISE, VectorIndex
from tests.indexer.index.disk_world import on_disk
from ubm_embed.errors import InvalidData

GROUPS, MEMBERS, WIDTH = 625, 16, 32
COUNT = GROUPS * MEMBERS
ASKED = [
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


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


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


@pytest.fixture(params=ASKED)
def kind(request: pytest.FixtureRequest) -> IndexKind:
    return kind_of(request.param)


@pytest.fixture
def index(kind: IndexKind, built: dict[str, VectorIndex], tmp_path_factory: pytest.TempPathFactory) -> VectorIndex:
    """The world's, in each kind; of a size that comes in parts."""
    if kind.factory not in built:
        parts = [VECTORS[:3000], VECTORS[3000:3000], VECTORS[3000:]]
        built[kind.factory] = build(parts, kind, tmp_path_factory.mktemp("table"))
    return built[kind.factory]


def build(parts: list[np.ndarray], kind: IndexKind, folder: Path) -> VectorIndex:
    if kind is DISK:
        return on_disk(folder, parts)
    return VectorIndex.build(parts, kind=kind, expected=sum(map(len, parts)))


class TestContract:
    def test_it_is_of_the_kind_that_was_asked_for(self, index: VectorIndex, kind: IndexKind) -> None:
        assert (index.kind, len(index), index.dimension) == (kind.name, COUNT, WIDTH)

    def test_the_nearest_are_the_groups(self, index: VectorIndex) -> None:
        found = index.search(CENTRES[:100], 10)
        assert (GROUP[found.positions] == np.arange(100)[:, None]).all()
        assert (np.diff(found.scores, axis=1) <= 0).all()
        right = np.einsum("bd,bkd->bk", CENTRES[:100], VECTORS[found.positions])
        np.testing.assert_allclose(found.scores, right, atol=0.02)

    def test_scores_are_those_of_the_vectors_that_it_gives_back(self, index: VectorIndex) -> None:
        found = index.search(CENTRES[:1], 10)
        np.testing.assert_allclose(index.scores(CENTRES[0], found.positions[0]), found.scores[0], atol=NOISE)
        kept = index.vectors(found.positions[0])
        np.testing.assert_allclose(kept @ CENTRES[0], found.scores[0], atol=1e-5)
        np.testing.assert_allclose(kept, VECTORS[found.positions[0]], atol=0.3 if "PCA" in index.form.factory else 0.02)

    def test_a_query_gets_the_same_answer_alone_and_in_a_batch(self, index: VectorIndex) -> None:
        together = index.search(CENTRES[:64], 10)
        for row in range(64):
            alone = index.search(CENTRES[row : row + 1], 10)
            assert alone.positions[0].tolist() == together.positions[row].tolist()
            np.testing.assert_allclose(alone.scores[0], together.scores[row], atol=NOISE)

    @pytest.mark.parametrize("members", [8, 1])
    def test_only_what_is_allowed_is_found_and_still_the_nearest(self, index: VectorIndex, members: int) -> None:
        """Of half of the vectors, and of so few that they are looked at one by one."""
        allowed = np.zeros(COUNT, bool)
        for group in range(GROUPS):
            allowed[np.flatnonzero(group == GROUP)[:members]] = True
        found = index.search(CENTRES[:50], members, allowed)
        assert allowed[found.positions].all()
        assert (GROUP[found.positions] == np.arange(50)[:, None]).all()

    def test_what_is_allowed_may_all_be_far_away(self, index: VectorIndex) -> None:
        query = CENTRES[:1]
        allowed = VECTORS @ query[0] < 0  # about half
        found = index.search(query, 30, allowed)
        assert found.positions.shape == (1, 30)
        assert allowed[found.positions].all()
        assert np.unique(found.positions).size == 30

    @pytest.mark.parametrize("many", [0, 1, 3])
    def test_k_is_cut_to_what_is_allowed(self, index: VectorIndex, many: int) -> None:
        allowed = np.zeros(COUNT, bool)
        allowed[[17, 3, 9_999][:many]] = True
        found = index.search(CENTRES[:2], 10, allowed)
        assert [sorted(row) for row in found.positions.tolist()] == [sorted([17, 3, 9_999][:many])] * 2

    @pytest.mark.parametrize("k", [COUNT - 1, COUNT, 2 * COUNT])
    def test_all_come_back_where_all_are_asked_for(self, index: VectorIndex, k: int) -> None:
        found = index.search(CENTRES[:2], k)
        assert found.positions.shape == (2, min(k, COUNT))
        assert all(np.unique(row).size == min(k, COUNT) for row in found.positions)
        assert (np.diff(found.scores, axis=1) <= 0).all()

    def test_a_saved_index_answers_as_before(self, index: VectorIndex, tmp_path: Path) -> None:
        if isinstance(index.engine, DiskEngine):
            pytest.skip("it is where it was built")
        index.save(tmp_path / "index")
        loaded = VectorIndex.load(tmp_path / "index", index.form)
        before, after = index.search(CENTRES[:20], 10), loaded.search(CENTRES[:20], 10)
        assert (after.positions == before.positions).all()
        assert after.scores.tobytes() == before.scores.tobytes()
        assert loaded.form == index.form

    def test_a_file_of_another_kind_is_refused(self, index: VectorIndex, kind: IndexKind, tmp_path: Path) -> None:
        if isinstance(index.engine, DiskEngine):
            pytest.skip("it has no file")
        index.save(tmp_path / "index")
        for other in KINDS.keys() - {DISK.name}:
            form = kind_of(other).form(COUNT, WIDTH) if other != "factory" else kind_of("IVF32,SQ8").form(COUNT, WIDTH)
            if other != kind.name and form.factory != index.form.factory:
                with pytest.raises(
                    InvalidData, match=f"expected an index '{form.factory[:4]}.* by inner product, found"
                ):
                    VectorIndex.load(tmp_path / "index", form)

    def test_threads_may_search_at_once_each_as_widely_as_it_likes(self, index: VectorIndex) -> None:
        widths = [index, index.searched(1), index.searched(index.widest)]
        alone = [one.search(CENTRES[:20], 10) for one in widths]
        with ThreadPoolExecutor(6) as threads:
            asked = [threads.submit(widths[turn % 3].search, CENTRES[:20], 10) for turn in range(30)]
        for turn, done in enumerate(asked):
            assert (done.result().positions == alone[turn % 3].positions).all()

    @pytest.mark.parametrize("count", [1, 3])
    def test_a_handful_of_vectors(self, kind: IndexKind, count: int, tmp_path: Path) -> None:
        index = build([VECTORS[:count]], kind, tmp_path)
        assert index.search(VECTORS[:1], 10).positions[0, 0] == 0
        assert sorted(index.search(VECTORS[:1], 10).positions[0]) == list(range(count))
        index.save(tmp_path / "index")
        assert len(VectorIndex.load(tmp_path / "index", index.form)) == count

    def test_equal_vectors_score_the_same_and_stand_by_position(self, kind: IndexKind, tmp_path: Path) -> None:
        copies = np.tile(VECTORS[:40], (50, 1))
        index = build([copies], kind, tmp_path)
        found = index.search(VECTORS[7:8], 60)
        assert found.positions[0, :50].tolist() == [7 + 40 * copy for copy in range(50)]
        assert np.unique(found.scores[0, :50]).size == 1

    def test_an_empty_catalogue_is_refused(self, kind: IndexKind, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="at least one vector"):
            build([VECTORS[:0]], kind, tmp_path)


@pytest.mark.parametrize("kind", ["ivf-fp16", "ivf-sq8", "ivf-pq", "IVF64,SQ8"])
def test_too_few_to_train_get_half_precision(kind: str) -> None:
    index = VectorIndex.build([VECTORS[:50]], kind=kind_of(kind))
    assert (index.kind, index.form.factory) == ("fp16", "SQfp16")


@pytest.mark.parametrize("kind", ["fp16", "ivf-pq", "hnsw"])
def test_a_wrong_guess_at_their_number_does_no_harm(kind: str, tmp_path: Path) -> None:
    """The number of lists depends on it, so it is not far off."""
    for guess in (1999, 2000, 2040):
        VectorIndex.build([VECTORS[:1000], VECTORS[1000:2000]], kind=kind_of(kind), expected=guess).save(tmp_path / "i")
        loaded = VectorIndex.load(tmp_path / "i", VectorIndex.build([VECTORS[:2000]], kind=kind_of(kind)).form)
        assert len(loaded) == 2000
        np.testing.assert_allclose(loaded.vectors(np.arange(2000)), VECTORS[:2000], atol=1e-3)


@pytest.mark.parametrize("kind", [FLAT, FP16])
def test_exact_kinds_find_what_a_plain_search_finds(kind: IndexKind) -> None:
    index, asked = VectorIndex.build([VECTORS], kind=kind), unit(normal(20, WIDTH, seed=3))
    kept = index.vectors(np.arange(COUNT)).astype(np.float64)
    for query, positions in zip(asked, index.search(asked, 10).positions, strict=True):
        scores = (kept @ query).astype(np.float32)
        assert positions.tolist() == sorted(range(COUNT), key=lambda row: (-scores[row], row))[:10]


def test_a_wider_search_finds_no_less() -> None:
    index, asked = VectorIndex.build([VECTORS], kind=kind_of("ivf-fp16")), unit(normal(50, WIDTH, seed=3))
    exact = VectorIndex.build([VECTORS], kind=FP16).search(asked, 10).positions
    found = [index.searched(breadth).search(asked, 10).positions for breadth in (1, 16, index.widest)]
    shares = [np.mean([np.isin(row, right).mean() for row, right in zip(one, exact, strict=True)]) for one in found]
    assert shares[0] < 0.5 < 0.8 < shares[1] < 0.99 < shares[2]


@pytest.mark.parametrize("factory", ["hsnw", "IVF,SQ8", "IDMap,Flat", "IVF64,LSH"])
def test_what_faiss_cannot_make_or_we_not_search_is_refused(factory: str) -> None:
    with pytest.raises(InvalidData) as caught:
        VectorIndex.build([VECTORS], kind=kind_of(factory))
    assert caught.value.field == "index"


def test_a_graph_that_does_not_lead_everywhere_still_gives_all() -> None:
    """Two worlds far apart, of which a narrow search sees one."""
    far = np.concatenate([unit(np.abs(normal(300, WIDTH, seed=1))), -unit(np.abs(normal(300, WIDTH, seed=2)))])
    index = VectorIndex.build([far], kind=HNSW).searched(1)
    assert sorted(index.search(far[:1], 600).positions[0]) == list(range(600))


def test_a_training_sample_is_from_everywhere_but_what_is_held_out() -> None:
    parts = [np.arange(first, first + 10, dtype=np.float32)[:, None] for first in range(0, 100, 10)]
    assert training_sample(parts, 100, 1000)[:, 0].tolist() == list(range(100))
    some = training_sample(parts, 100, 12)[:, 0]
    assert some.size == 12
    assert {int(value) // 10 for value in some} == set(range(10))
    kept = training_sample(parts, 100, 1000, np.array([3, 50, 99]))[:, 0]
    assert set(range(100)) - set(kept.astype(int)) == {3, 50, 99}
