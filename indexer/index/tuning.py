"""The index that a catalogue needs: kinds are built, searched more and more thoroughly up to the recall, and timed.

Letters: B queries, K nearest, M vectors, D width.
"""

from __future__ import annotations

import math
import statistics
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from indexer.index.faiss_factory import empty_index
from indexer.index.index_request import AUTO, IndexRequest, IndexTarget
from indexer.index.kinds import (
    DISK,
    EF_SEARCH,
    FLAT,
    FP16,
    IVF_FP16,
    IVF_SQ8,
    MEDIAN_MS,
    IndexKind,
    IndexSpec,
    kind_from_name,
)
from indexer.index.recall import TuningQueries
from indexer.index.vector_index import VectorIndex
from ubm_embed.data.arrays import FloatArray
from ubm_embed.errors import InvalidData

# Below this every kind answers in a fraction of a millisecond: nothing is worth measuring, and one catalogue always
# gets the same index.
_TINY = 1000
# Up to this many vectors, comparing them all takes a quarter of a millisecond, without training and at full recall. At
# 30,000 it already takes twenty times as long as lists do.
EXACT_UP_TO = 10_000
_TIMED_QUERIES, _WARM_UP_QUERIES = 50, 3
# A graph that must be searched more thoroughly is slower than lists, and takes minutes to show it.
_MAX_EF_SEARCH = 4096
_STEPS_PER_DOUBLING = 4


class VectorSource(Protocol):
    """The vectors that an index is built from."""

    def __iter__(self) -> Iterator[FloatArray]:
        """All vectors, some at a time; may be called more than once."""

    def build_on_disk(self, spec: IndexSpec) -> VectorIndex:
        """LanceDB's own index over them, built where they are."""


@dataclass(frozen=True)
class BenchmarkResult:
    """An index, and what was measured of it.

    Attributes:
        recall: with the tuning queries.
        median_ms: milliseconds of a single query.
    """

    index: VectorIndex
    recall: float
    median_ms: float

    def meets(self, target: IndexTarget) -> bool:
        """Whether it finds enough, and is fast enough if a latency is required."""
        return self.recall >= target.recall and (target.latency_ms is None or self.median_ms <= target.latency_ms)

    def is_better_than(self, other: BenchmarkResult, target: IndexTarget) -> bool:
        """Whether to prefer it: recall up to the target counts first, then the time; below the target, the recall."""
        enough, other_enough = self.recall >= target.recall, other.recall >= target.recall
        if enough != other_enough:
            return enough
        return self.median_ms < other.median_ms if enough else self.recall > other.recall

    def to_parameters(self) -> dict[str, Any]:
        """The parameters that a manifest records."""
        return self.index.spec.to_parameters() | {MEDIAN_MS: round(self.median_ms, 4)}


def choose_index(
    request: IndexRequest, source: VectorSource, queries: TuningQueries, *, exact_up_to: int = EXACT_UP_TO
) -> BenchmarkResult:
    """Build the index that is requested, or the fastest of those that fit. One that misses the target is returned too.

    Args:
        source: all vectors; gone through more than once.
        exact_up_to: catalogues of at most this many vectors try an exact index first.

    Raises:
        InvalidData: no kind fits into the memory that is allowed, or faiss cannot build a factory string.
        NotFound: faiss is not installed.
    """
    target, width = request.target, queries.products.shape[1]
    best: BenchmarkResult | None = None
    for group in _candidate_kinds(request, queries.count, width, exact_up_to):
        for kind in group:
            result = _benchmark(kind, source, queries, target)
            best = result if best is None or result.is_better_than(best, target) else best
        if best is not None and best.meets(target):
            break
    assert best is not None, "there is always a candidate, or an error"
    return best


def require_buildable(request: IndexRequest, dimension: int) -> None:
    """Check that faiss can build what is requested, which is worth knowing before hours of embedding.

    Raises:
        InvalidData: it is no kind, and no factory string that faiss can read.
        NotFound: faiss is not installed.
    """
    if request.index_or_auto not in (AUTO, DISK.name):
        empty_index(kind_from_name(request.index_or_auto).spec_for(EXACT_UP_TO, dimension).factory, dimension)


def auto_kinds(count: int, exact_up_to: int = EXACT_UP_TO) -> list[list[IndexKind]]:
    """The kinds that `auto` tries, in groups, the fastest first; exact ones last, for a target of all or nearly all.

    Neither hnsw nor ivf-pq. At midpoints of products, where sessions are, a graph leads to the nearest only if it is
    searched so thoroughly that lists are several times as fast, and it takes far longer to build. Product quantisation
    was no faster in lists as short as these, and takes more memory.
    """
    if count < _TINY:
        return [[FLAT]]
    lists = [[IVF_FP16], [IVF_SQ8]]
    return [[FLAT, FP16], *lists] if count <= exact_up_to else [*lists, [FLAT, FP16]]


def _candidate_kinds(request: IndexRequest, count: int, width: int, exact_up_to: int) -> Iterator[Sequence[IndexKind]]:
    """Kinds to try, in groups: a later group only if none before it meets the target."""
    max_gb, auto = request.target.memory_gb, request.index_or_auto == AUTO
    groups = auto_kinds(count, exact_up_to) if auto else [[kind_from_name(request.index_or_auto)]]
    if auto and max_gb is not None:
        groups = [*groups, [DISK]]
    max_bytes = math.inf if max_gb is None else max_gb * 1e9
    fitting = [[kind for kind in group if _estimate_bytes(kind, count, width) <= max_bytes] for group in groups]
    if not any(fitting):
        kinds = [kind for group in groups for kind in group]
        smallest = min(kinds, key=lambda kind: _estimate_bytes(kind, count, width))
        min_gb, name = _estimate_bytes(smallest, count, width) / 1e9, smallest.spec_for(count, width).kind.name
        problem = f"{count:,} vectors of width {width} take at least {min_gb:.3g} GB as {name}, got {max_gb:g}"
        raise InvalidData(problem, field="memory_gb")
    if len(fitting) > 1 and any(fitting[:-1]) and groups[-1] == [DISK]:
        fitting = fitting[:-1]  # the disk is for what fits nowhere else
    yield from (group for group in fitting if group)


def _estimate_bytes(kind: IndexKind, count: int, width: int) -> float:
    """Bytes in memory of what a kind becomes with `count` vectors; 0 if that is unknown."""
    return kind.spec_for(count, width).kind.estimate_bytes(count, width) or 0.0


def _benchmark(kind: IndexKind, source: VectorSource, queries: TuningQueries, target: IndexTarget) -> BenchmarkResult:
    index, recall = tune(build_kind(kind, source, queries), queries, target.recall)
    return BenchmarkResult(index, recall, median_ms(index, queries.like_sessions))


def build_kind(kind: IndexKind, source: VectorSource, queries: TuningQueries) -> VectorIndex:
    """An index of this kind that is not tuned yet, trained without the queries."""
    spec = kind.spec_for(queries.count, queries.products.shape[1])
    if spec.kind is DISK:
        return source.build_on_disk(spec)
    # Too few vectors for lists become another kind, and on disk there is none: they stay in memory.
    kind = spec.kind if kind is DISK else kind
    return VectorIndex.build(source, kind=kind, expected=queries.count, held_out=queries.held_out)


def tune(index: VectorIndex, queries: TuningQueries, recall: float) -> tuple[VectorIndex, float]:
    """The index with the smallest search value that has this recall, or the largest that is tried; and its recall."""
    parameter, highest = index.spec.kind.search_parameter, index.max_search_value
    if parameter is None:
        return index, queries.recall(index)
    values = search_values(min(highest, _MAX_EF_SEARCH) if parameter == EF_SEARCH else highest)

    @cache
    def recall_at(step: int) -> float:
        return queries.recall(index.with_search_value(values[step]))

    # First by doubling, then in between: the time of a search grows with its value, so large values are tried last.
    doublings = [*range(0, len(values), _STEPS_PER_DOUBLING), len(values) - 1]
    enough = next((step for step in doublings if recall_at(step) >= recall), len(values) - 1)
    between = range(max(enough - _STEPS_PER_DOUBLING, 0), enough)
    step = between.start + bisect_left(between, True, key=lambda step: recall_at(step) >= recall)
    return index.with_search_value(values[step]), recall_at(step)


def tune_further(
    index: VectorIndex, queries: TuningQueries, recall: float, max_value: int
) -> tuple[VectorIndex, float]:
    """The index with the smallest search value from its own up to `max_value` that has this recall; and its recall.

    The last that was tried if none has it.
    """
    reached, value = queries.recall(index), index.spec.search_value
    highest = min(max_value, index.max_search_value)
    larger = [other for other in search_values(index.max_search_value) if value < other <= highest]
    if index.spec.kind.search_parameter is None:
        return index, reached
    for value in larger:
        if reached >= recall:
            break
        index = index.with_search_value(value)
        reached = queries.recall(index)
    return index, reached


def median_ms(index: VectorIndex, queries: FloatArray, k: int = 10) -> float:
    """Milliseconds of a query that comes alone, the median of some."""
    seconds = []
    for query in (*queries[:_WARM_UP_QUERIES], *queries[:_TIMED_QUERIES]):
        started = time.perf_counter()
        index.search(query[None], k)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[_WARM_UP_QUERIES:] or seconds) * 1000


def search_values(highest: int) -> list[int]:
    """1, 2, ..., 8, 10, 12, 14, 16, 20, ... and the highest: each at most a quarter more than the one before."""
    quarters = range(_STEPS_PER_DOUBLING, 2 * _STEPS_PER_DOUBLING)
    doublings = range(highest.bit_length())
    values = {2**power * quarter // _STEPS_PER_DOUBLING for power in doublings for quarter in quarters}
    return sorted({value for value in values if value < highest} | {highest})
