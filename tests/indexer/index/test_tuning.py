"""What `auto` chooses is what it says: good enough, measured, and within its memory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from indexer.index import tuning as choice
from indexer.index.index_request import IndexRequest, IndexTarget
from indexer.index.kinds import DISK, FLAT, HNSW, IVF_FP16, IVF_SQ8, IndexForm, kind_of
from indexer.index.tuning import Questions, Trial, between, choose_index, require_possible, tuned
from indexer.index.vector_index import Neighbours, VectorIndex
from tests.indexer.index.disk_world import on_disk
from ubm_embed.errors import InvalidData

COUNT, WIDTH = 6000, 32


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(count: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = random.standard_normal((200, WIDTH))
    return unit(centres[random.integers(0, 200, count)] + 1.0 * random.standard_normal((count, WIDTH)))


class Parts:
    """Vectors some at a time; counts how often they were gone through."""

    def __init__(self, vectors: np.ndarray, folder: Path | None = None) -> None:
        self.vectors, self.folder, self.passes = vectors, folder, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        self.passes += 1
        return (self.vectors[first : first + 1000] for first in range(0, len(self.vectors), 1000))

    def on_disk(self, form: IndexForm) -> VectorIndex:
        assert self.folder is not None, "only where nothing fits into the memory"
        return on_disk(self.folder, list(self))


def questions(vectors: np.ndarray, many: int = 100) -> Questions:
    own = np.unique(np.linspace(0, len(vectors) - 1, many).astype(np.int64))
    halfway = between(vectors[own])
    near = [nearest(vectors, asked) for asked in (vectors[own], halfway)]
    return Questions(vectors[own], own, near[0], halfway, near[1], lambda rows: vectors[rows], len(vectors))


def nearest(vectors: np.ndarray, asked: np.ndarray) -> Neighbours:
    scores = asked @ vectors.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :11]
    return Neighbours(np.take_along_axis(scores, order, axis=1), order)


VECTORS = clustered(COUNT)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is here is large enough for lists."""
    monkeypatch.setattr(choice, "_SMALL", COUNT - 1)


def recall_by_hand(index: VectorIndex, asked: np.ndarray) -> float:
    """Of the ten nearest beside itself, or of the ten nearest halfway to another; the slow obvious way."""
    return min(recall_of_products(index, asked), recall_between(index, asked))


def recall_between(index: VectorIndex, asked: np.ndarray) -> float:
    shares = []
    for row, other in zip(asked, np.roll(asked, len(asked) // 2), strict=True):
        query = unit((VECTORS[row] + VECTORS[other])[None])
        right = np.argsort(-(query @ VECTORS.T)[0])[:10]
        shares.append(np.isin(right, index.search(query, 10).positions[0]).mean())
    return float(np.mean(shares))


def recall_of_products(index: VectorIndex, asked: np.ndarray) -> float:
    shares = []
    for row in asked:
        right = [other for other in np.argsort(-(VECTORS @ VECTORS[row])) if other != row][:10]
        found = [other for other in index.search(VECTORS[row][None], 11).positions[0] if other != row][:10]
        shares.append(np.isin(right, found).mean())
    return float(np.mean(shares))


@pytest.mark.parametrize("recall", [0.8, 0.95, 0.99])
def test_auto_meets_its_target_with_the_narrowest_search_that_does(large: None, recall: float) -> None:
    asked = questions(VECTORS)
    chosen = choose_index(IndexRequest(recall=recall), Parts(VECTORS), asked)
    assert chosen.index.form.kind is IVF_FP16
    assert chosen.recall >= recall
    assert chosen.recall == pytest.approx(recall_by_hand(chosen.index, asked.own), abs=0.002)
    narrower = [step for step in choice.breadths(chosen.index.widest) if step < chosen.index.form.breadth]
    assert not narrower or asked.recall(chosen.index.searched(narrower[-1])) < recall
    # Others than it was tuned with get nearly as much.
    others = np.arange(33, COUNT, 60)
    assert recall_by_hand(chosen.index, others) > recall - 0.05


def test_more_recall_takes_a_wider_search(large: None) -> None:
    asked = questions(VECTORS)
    index = VectorIndex.build(Parts(VECTORS), kind=IVF_FP16, expected=COUNT)
    breadths = [tuned(index, asked, recall)[0].form.breadth for recall in (0.5, 0.8, 0.95, 1.0)]
    assert breadths == sorted(breadths)
    assert breadths[0] < breadths[2] < index.widest


def test_a_small_catalogue_is_searched_exactly_in_the_faster_way() -> None:
    chosen = choose_index(IndexRequest(), Parts(VECTORS), questions(VECTORS))
    assert chosen.index.form.kind.exact
    assert chosen.recall >= 0.99


def test_who_wants_all_of_the_recall_gets_it(large: None) -> None:
    assert choose_index(IndexRequest(recall=1.0), Parts(VECTORS), questions(VECTORS)).recall == 1.0


@pytest.mark.parametrize("count", [1, 2, 30, 999])
def test_a_tiny_catalogue_is_always_flat(count: int) -> None:
    chosen = choose_index(IndexRequest(), Parts(VECTORS[:count]), questions(VECTORS[:count]))
    assert (chosen.index.kind, chosen.recall) == ("flat", 1.0)


@pytest.mark.parametrize("name", ["flat", "fp16", "ivf-fp16", "ivf-pq", "hnsw", "IVF32,SQ8"])
def test_a_kind_that_is_named_is_taken_and_tuned(name: str) -> None:
    chosen = choose_index(IndexRequest(index=name, recall=0.9), Parts(VECTORS), questions(VECTORS))
    assert chosen.index.form.kind == kind_of(name)
    assert chosen.recall >= 0.9
    assert chosen.to_parameters()["median_ms"] > 0
    assert chosen.to_parameters()["factory"] == chosen.index.form.factory


def test_questions_are_not_trained_with(large: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []
    whole = VectorIndex.build

    def noted(parts: Parts, **options: object) -> VectorIndex:
        seen.append(options["held_out"])  # type: ignore[arg-type]
        return whole(parts, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(VectorIndex, "build", noted)
    asked = questions(VECTORS)
    choose_index(IndexRequest(index="ivf-fp16"), Parts(VECTORS), asked)
    assert seen[0] is asked.own
    choose_index(IndexRequest(index="ivf-fp16"), Parts(VECTORS[:500]), questions(VECTORS[:500]))
    assert seen[1] is None, "a small catalogue needs every vector"


def test_vectors_are_gone_through_once_to_train_and_once_to_build(large: None) -> None:
    parts = Parts(VECTORS)
    choose_index(IndexRequest(index="ivf-fp16"), parts, questions(VECTORS))
    assert parts.passes == 2


def test_less_memory_takes_a_smaller_kind(large: None) -> None:
    half = IVF_FP16.takes(COUNT, WIDTH) or 0
    byte = IVF_SQ8.takes(COUNT, WIDTH) or 0
    chosen = choose_index(IndexRequest(memory_gb=(half + byte) / 2e9, recall=0.9), Parts(VECTORS), questions(VECTORS))
    assert chosen.index.form.kind is IVF_SQ8


def test_where_nothing_fits_into_memory_it_stays_on_disk(large: None, tmp_path: Path) -> None:
    byte = IVF_SQ8.takes(COUNT, WIDTH) or 0
    asked = questions(VECTORS)
    chosen = choose_index(IndexRequest(memory_gb=byte / 2e9), Parts(VECTORS, tmp_path), asked)
    assert chosen.index.form.kind is DISK
    assert chosen.recall >= 0.99
    with pytest.raises(InvalidData, match=r"6,000 vectors of width 32 take at least .* GB as disk") as caught:
        choose_index(IndexRequest(memory_gb=1e-9), Parts(VECTORS), asked)
    assert caught.value.field == "memory_gb"


@pytest.mark.parametrize("kind", ["flat", "fp16", "ivf-fp16", "ivf-sq8", "ivf-pq", "hnsw"])
def test_a_kind_takes_about_what_it_says(kind: str, tmp_path: object) -> None:
    index = VectorIndex.build([VECTORS], kind=kind_of(kind))
    index.save(f"{tmp_path}/index")
    size = (np.memmap(f"{tmp_path}/index", mode="r")).size - index.form.lists * WIDTH * 4 * (index.form.lists > 1)
    assert size == pytest.approx(kind_of(kind).takes(COUNT, WIDTH) or 0, rel=0.1)


def test_what_is_too_slow_comes_back_as_the_best_there_is() -> None:
    target = IndexTarget(latency_ms=1e-6)
    chosen = choose_index(IndexRequest(latency_ms=1e-6), Parts(VECTORS), questions(VECTORS))
    assert chosen.recall >= 0.99
    assert not chosen.meets(target)


def test_the_right_recall_counts_more_than_the_time() -> None:
    index = VectorIndex.build([VECTORS[:10]], kind=FLAT)
    slow, fast, poor, poorer = (
        Trial(index, recall, ms) for recall, ms in ((0.995, 3.0), (0.99, 1.0), (0.9, 0.1), (0.8, 0.01))
    )
    target = IndexTarget(recall=0.99)
    order = sorted(
        [poorer, slow, poor, fast],
        key=lambda one: [choice._better(other, one, target) for other in (slow, fast, poor, poorer)].count(True),
    )
    assert order == [fast, slow, poor, poorer]


@pytest.mark.parametrize("name", ["hsnw", "IVF1024,SQ", "PQ7"])
def test_what_cannot_be_made_is_known_before(name: str) -> None:
    with pytest.raises(InvalidData, match=f"{name!r} is no kind of index and no FAISS factory string") as caught:
        require_possible(IndexRequest(index=name), WIDTH)
    assert caught.value.field == "index"


def test_what_can_be_made_passes() -> None:
    for name in (None, "auto", "flat", "ivf-pq", "IVF1024,SQ8"):
        require_possible(IndexRequest(index=name), WIDTH)


def test_graphs_are_built_only_where_they_are_asked_for(large: None) -> None:
    for count in (1, 1000, 10**5, 10**7):
        assert HNSW not in [kind for group in choice._kinds(count) for kind in group]
