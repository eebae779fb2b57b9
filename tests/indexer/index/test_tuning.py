"""What `auto` chooses is what it says: good enough, measured, and within its memory."""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from indexer.index.index_request import IndexRequest, IndexTarget
from indexer.index.kinds import DISK, FLAT, HNSW, IVF_FP16, IVF_SQ8, IndexSpec, kind_from_name
from indexer.index.recall import TuningQueries, midpoints_of
from indexer.index.tuning import BenchmarkResult, auto_kinds, choose_index, require_buildable, search_values, tune
from indexer.index.vector_index import VectorIndex
from tests.indexer.index.disk_world import on_disk
from tests.indexer.index.toy_vectors import exact_neighbours, unit
from ubm_embed.errors import InvalidData

COUNT, WIDTH = 6000, 32


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

    def build_on_disk(self, spec: IndexSpec) -> VectorIndex:
        assert self.folder is not None, "only where nothing fits into the memory"
        return on_disk(self.folder, list(self))


def tuning_queries(vectors: np.ndarray, count: int = 100) -> TuningQueries:
    rows = np.unique(np.linspace(0, len(vectors) - 1, count).astype(np.int64))
    midpoints = midpoints_of(vectors[rows])
    nearest = [exact_neighbours(vectors, queries, 11) for queries in (vectors[rows], midpoints)]
    return TuningQueries(vectors[rows], rows, nearest[0], midpoints, nearest[1], lambda at: vectors[at], len(vectors))


VECTORS = clustered(COUNT)
# The world is large enough for lists.
choose_as_if_large = partial(choose_index, exact_up_to=COUNT - 1)


def recall_by_hand(index: VectorIndex, rows: np.ndarray) -> float:
    """Of the ten nearest beside itself, or of the ten nearest halfway to another; the slow obvious way."""
    return min(recall_of_products(index, rows), recall_of_midpoints(index, rows))


def recall_of_midpoints(index: VectorIndex, rows: np.ndarray) -> float:
    shares = []
    for row, other in zip(rows, np.roll(rows, len(rows) // 2), strict=True):
        query = unit((VECTORS[row] + VECTORS[other])[None])
        right = np.argsort(-(query @ VECTORS.T)[0])[:10]
        shares.append(np.isin(right, index.search(query, 10).positions[0]).mean())
    return float(np.mean(shares))


def recall_of_products(index: VectorIndex, rows: np.ndarray) -> float:
    shares = []
    for row in rows:
        right = [other for other in np.argsort(-(VECTORS @ VECTORS[row])) if other != row][:10]
        positions = [other for other in index.search(VECTORS[row][None], 11).positions[0] if other != row][:10]
        shares.append(np.isin(right, positions).mean())
    return float(np.mean(shares))


@pytest.mark.parametrize("recall", [0.8, 0.95, 0.99])
def test_auto_finds_the_recall_with_the_smallest_search_value_that_has_it(recall: float) -> None:
    queries = tuning_queries(VECTORS)
    chosen = choose_as_if_large(IndexRequest(recall=recall), Parts(VECTORS), queries)
    assert chosen.index.spec.kind is IVF_FP16
    assert chosen.recall >= recall
    assert chosen.recall == pytest.approx(recall_by_hand(chosen.index, queries.rows), abs=0.002)  # one or two ties
    used = chosen.index.spec.search_value
    smaller = [value for value in search_values(chosen.index.max_search_value) if value < used]
    assert not smaller or queries.recall(chosen.index.with_search_value(smaller[-1])) < recall
    # Other queries than it was tuned with get nearly as much.
    others = np.arange(33, COUNT, 60)
    assert recall_by_hand(chosen.index, others) > recall - 0.05


def test_more_recall_takes_a_larger_search_value() -> None:
    queries = tuning_queries(VECTORS)
    index = VectorIndex.build(Parts(VECTORS), kind=IVF_FP16, expected=COUNT)
    values = [tune(index, queries, recall)[0].spec.search_value for recall in (0.5, 0.8, 0.95, 1.0)]
    assert values == sorted(values)
    assert values[0] < values[2] < index.max_search_value


def test_search_values_grow_by_a_quarter_at_most_from_8_on() -> None:
    values = search_values(300)
    assert values[:12] == [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16]
    assert values[-1] == 300
    assert all(after <= 1.25 * before for before, after in pairwise(values[7:]))


def test_a_small_catalogue_is_searched_exactly() -> None:
    chosen = choose_index(IndexRequest(), Parts(VECTORS), tuning_queries(VECTORS))
    assert chosen.index.spec.kind.exact
    assert chosen.recall >= 0.99


def test_a_target_of_full_recall_is_met() -> None:
    assert choose_as_if_large(IndexRequest(recall=1.0), Parts(VECTORS), tuning_queries(VECTORS)).recall == 1.0


@pytest.mark.parametrize("count", [1, 2, 30, 999])
def test_a_tiny_catalogue_is_always_flat(count: int) -> None:
    chosen = choose_index(IndexRequest(), Parts(VECTORS[:count]), tuning_queries(VECTORS[:count]))
    assert (chosen.index.kind, chosen.recall) == ("flat", 1.0)


@pytest.mark.parametrize("name", ["flat", "fp16", "ivf-fp16", "ivf-pq", "hnsw", "IVF32,SQ8"])
def test_a_named_kind_is_taken_and_tuned(name: str) -> None:
    chosen = choose_index(IndexRequest(index=name, recall=0.9), Parts(VECTORS), tuning_queries(VECTORS))
    assert chosen.index.spec.kind == kind_from_name(name)
    assert chosen.recall >= 0.9
    assert chosen.to_parameters()["median_ms"] > 0
    assert chosen.to_parameters()["factory"] == chosen.index.spec.factory


def test_an_index_is_not_trained_with_the_tuning_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    held_out: list[np.ndarray | None] = []
    build = VectorIndex.build

    def noting_build(parts: Parts, **options: object) -> VectorIndex:
        held_out.append(options["held_out"])  # type: ignore[arg-type]
        return build(parts, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(VectorIndex, "build", noting_build)
    queries = tuning_queries(VECTORS)
    choose_index(IndexRequest(index="ivf-fp16"), Parts(VECTORS), queries)
    choose_index(IndexRequest(index="ivf-fp16"), Parts(VECTORS[:500]), tuning_queries(VECTORS[:500]))
    assert held_out[0] is queries.rows
    assert held_out[1] is None, "a small catalogue needs every vector"


def test_vectors_are_gone_through_once_to_train_and_once_to_build() -> None:
    parts = Parts(VECTORS)
    choose_index(IndexRequest(index="ivf-fp16"), parts, tuning_queries(VECTORS))
    assert parts.passes == 2


def test_less_memory_takes_a_smaller_kind() -> None:
    half_precision = IVF_FP16.estimate_bytes(COUNT, WIDTH) or 0
    eight_bits = IVF_SQ8.estimate_bytes(COUNT, WIDTH) or 0
    request = IndexRequest(memory_gb=(half_precision + eight_bits) / 2e9, recall=0.9)
    chosen = choose_as_if_large(request, Parts(VECTORS), tuning_queries(VECTORS))
    assert chosen.index.spec.kind is IVF_SQ8


def test_an_index_that_fits_into_no_memory_stays_on_disk(tmp_path: Path) -> None:
    eight_bits = IVF_SQ8.estimate_bytes(COUNT, WIDTH) or 0
    queries = tuning_queries(VECTORS)
    chosen = choose_as_if_large(IndexRequest(memory_gb=eight_bits / 2e9), Parts(VECTORS, tmp_path), queries)
    assert chosen.index.spec.kind is DISK
    assert chosen.recall >= 0.99
    with pytest.raises(InvalidData, match=r"6,000 vectors of width 32 take at least .* GB as disk") as caught:
        choose_as_if_large(IndexRequest(memory_gb=1e-9), Parts(VECTORS), queries)
    assert caught.value.field == "memory_gb"


@pytest.mark.parametrize("kind", ["flat", "fp16", "ivf-fp16", "ivf-sq8", "ivf-pq", "hnsw"])
def test_a_kind_takes_about_the_bytes_that_it_estimates(kind: str, tmp_path: Path) -> None:
    index = VectorIndex.build([VECTORS], kind=kind_from_name(kind))
    index.save(tmp_path / "index")
    centres = index.spec.nlist * WIDTH * 4 if index.spec.nlist > 1 else 0  # which do not grow with the vectors
    size = (tmp_path / "index").stat().st_size - centres
    assert size == pytest.approx(kind_from_name(kind).estimate_bytes(COUNT, WIDTH) or 0, rel=0.1)


def test_an_index_that_misses_its_latency_is_still_the_best_there_is() -> None:
    request = IndexRequest(latency_ms=1e-6)
    chosen = choose_index(request, Parts(VECTORS), tuning_queries(VECTORS))
    assert chosen.recall >= 0.99
    assert not chosen.meets(request.target)


def test_enough_recall_counts_more_than_the_time() -> None:
    index = VectorIndex.build([VECTORS[:10]], kind=FLAT)
    figures = ((0.995, 3.0), (0.99, 1.0), (0.9, 0.1), (0.8, 0.01))
    slow, fast, poor, poorer = (BenchmarkResult(index, recall, ms) for recall, ms in figures)
    target = IndexTarget(recall=0.99)
    best_first = [fast, slow, poor, poorer]
    for place, better in enumerate(best_first):
        for worse in best_first[place + 1 :]:
            assert better.is_better_than(worse, target)
            assert not worse.is_better_than(better, target)


@pytest.mark.parametrize("name", ["hsnw", "IVF1024,SQ", "PQ7"])
def test_an_index_that_faiss_cannot_build_is_refused_beforehand(name: str) -> None:
    with pytest.raises(InvalidData, match=f"{name!r} is no kind of index and no FAISS factory string") as caught:
        require_buildable(IndexRequest(index=name), WIDTH)
    assert caught.value.field == "index"


def test_an_index_that_faiss_can_build_passes() -> None:
    for name in (None, "auto", "flat", "ivf-pq", "IVF1024,SQ8"):
        require_buildable(IndexRequest(index=name), WIDTH)


def test_graphs_are_built_only_on_request() -> None:
    for count in (1, 1000, 10**5, 10**7):
        assert HNSW not in [kind for group in auto_kinds(count) for kind in group]
