"""The index that a catalogue needs: kinds are built, searched ever more widely until the recall is there, and timed.

Letters: B queries, K nearest, M vectors, D width.
"""

from __future__ import annotations

import math
import statistics
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np

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
    IndexForm,
    IndexKind,
    kind_of,
)
from indexer.index.recall import Search, recall_at_k
from indexer.index.vector_index import Neighbours, VectorIndex
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.errors import InvalidData

# Here every kind answers in a fraction of a millisecond: nothing is worth measuring, and the same catalogue always
# gets the same index.
_TINY = 1000
# Up to here looking at every vector takes a quarter of a millisecond, and needs neither training nor a compromise. At
# 30,000 it is already twenty times as slow as lists are.
_SMALL = 10_000
_TIMED = 50
# Training is to leave out the questions, but a small catalogue needs every vector.
_HELD_OUT = 0.05
# A graph that must be searched more widely takes longer than lists do, and minutes to find that out.
_WIDEST_GRAPH = 4096
_STEPS_A_DOUBLING = 4
# Two vectors whose sum is shorter have no middle.
_OPPOSITE = 1e-3


class Vectors(Protocol):
    """What an index is built from."""

    def __iter__(self) -> Iterator[FloatArray]:
        """All vectors, some at a time, as often as they are asked for."""

    def on_disk(self, form: IndexForm) -> VectorIndex:
        """LanceDB's own index over them, built where they are."""


@dataclass(frozen=True)
class Questions:
    """Questions with known answers: products, and places between two products.

    A session that holds two kinds of products has its vector between them, where an index has a harder time: one that
    found 0.99 of what is near to products found 0.87 of what is near to sessions. Halfway between two products drawn at
    random is a little harder than sessions are, and needs none.

    Attributes:
        products: vectors of the catalogue, [B, D].
        own: where each stands in it, [B].
        nearest: their exact nearest, themselves among them: [B, K + 1].
        between: vectors of length 1 halfway between two products, [B', D].
        nearest_between: their exact nearest: [B', K + 1].
        vectors: the catalogue's, by their positions: [N] -> [N, D].
        count: M.
    """

    products: FloatArray
    own: IntArray
    nearest: Neighbours
    between: FloatArray
    nearest_between: Neighbours
    vectors: Callable[[IntArray], FloatArray]
    count: int

    @property
    def asked(self) -> FloatArray:
        """What is asked to see how fast an index is: more like sessions."""
        return self.between if len(self.between) else self.products

    def recall(self, index: VectorIndex) -> float:
        """As `recall_of`."""
        return self.recall_of(lambda queries, k: index.search(queries, k).positions)

    def recall_of(self, search: Search) -> float:
        """Share of the exact K nearest that is found: of products, each itself apart, or between them; the lower."""
        found = [recall_at_k(search, self.products, self.nearest, self.vectors, self.own)]
        if len(self.between):
            first = self.nearest_between.at(slice(None), slice(-1))
            found.append(recall_at_k(search, self.between, first, self.vectors))
        return min(found)


def between(vectors: FloatArray) -> FloatArray:
    """Halfway between each of some vectors and another of them, of length 1, the same each time: [B, D] -> [B', D]."""
    if len(vectors) < 2:
        return vectors[:0]
    sums = vectors + np.roll(vectors, len(vectors) // 2, axis=0)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    kept = lengths[:, 0] > _OPPOSITE
    halfway: FloatArray = (sums[kept] / lengths[kept]).astype(np.float32)
    return halfway


@dataclass(frozen=True)
class Trial:
    """An index with what was measured of it.

    Attributes:
        recall: on the questions.
        median_ms: of a single query.
    """

    index: VectorIndex
    recall: float
    median_ms: float

    def meets(self, target: IndexTarget) -> bool:
        """Whether it is good enough, and fast enough where that was asked for."""
        return self.recall >= target.recall and (target.latency_ms is None or self.median_ms <= target.latency_ms)

    def to_parameters(self) -> dict[str, Any]:
        """As a manifest has it."""
        return self.index.form.to_parameters() | {MEDIAN_MS: round(self.median_ms, 4)}


def choose_index(request: IndexRequest, parts: Vectors, questions: Questions) -> Trial:
    """Build the index that is asked for, or the fastest of those that fit; one that misses the target comes back too.

    Args:
        parts: all vectors; gone through more than once.

    Raises:
        InvalidData: no kind fits into the memory that is allowed, or nothing can be made of a factory string.
        NotFound: faiss is not installed.
    """
    target, width = request.target, questions.products.shape[1]
    best: Trial | None = None
    for group in _candidates(request, questions.count, width):
        for kind in group:
            trial = _tried(kind, parts, questions, target)
            best = trial if best is None or _better(trial, best, target) else best
        if best is not None and best.meets(target):
            break
    assert best is not None, "there is always a candidate, or an error"
    return best


def require_possible(request: IndexRequest, dimension: int) -> None:
    """Check what is asked for: that faiss cannot make it is worth knowing before hours of embedding.

    Raises:
        InvalidData: it is no kind and no factory string that faiss can read.
        NotFound: faiss is not installed.
    """
    if request.chosen not in (AUTO, DISK.name):
        empty_index(kind_of(request.chosen).form(_SMALL, dimension).factory, dimension)


def _candidates(request: IndexRequest, count: int, width: int) -> Iterator[Sequence[IndexKind]]:
    """Kinds to try, in groups: a later group only if none before it meets the target."""
    most = request.target.memory_gb
    groups = _kinds(count) if request.chosen == AUTO else [[kind_of(request.chosen)]]
    if request.chosen == AUTO and most is not None:
        groups = [*groups, [DISK]]
    fitting = [[kind for kind in group if _takes(kind, count, width) <= (most or math.inf) * 1e9] for group in groups]
    if not any(fitting):
        smallest = min((kind for group in groups for kind in group), key=lambda kind: _takes(kind, count, width))
        least, name = _takes(smallest, count, width) / 1e9, smallest.form(count, width).kind.name
        problem = f"{count:,} vectors of width {width} take at least {least:.3g} GB as {name}, got {most:g}"
        raise InvalidData(problem, field="memory_gb")
    if len(fitting) > 1 and any(fitting[:-1]) and groups[-1] == [DISK]:
        fitting = fitting[:-1]  # the disk is for what fits nowhere else
    yield from (group for group in fitting if group)


def _kinds(count: int) -> list[list[IndexKind]]:
    """What `auto` tries, the fastest first; the exact ones last, for who wants all or all but all of the recall.

    Not hnsw nor ivf-pq, unless they are asked for. Between products, where sessions are, a graph leads to the nearest
    only when it is searched so widely that lists are several times as fast, and it takes far longer to build. Product
    quantisation was no faster in lists as short as these, and takes more memory.
    """
    if count < _TINY:
        return [[FLAT]]
    lists = [[IVF_FP16], [IVF_SQ8]]
    return [[FLAT, FP16], *lists] if count <= _SMALL else [*lists, [FLAT, FP16]]


def _takes(kind: IndexKind, count: int, width: int) -> float:
    """Bytes in memory of what a kind comes to be with so many vectors; 0 where nobody knows."""
    return kind.form(count, width).kind.takes(count, width) or 0.0


def _tried(kind: IndexKind, parts: Vectors, questions: Questions, target: IndexTarget) -> Trial:
    index, recall = tuned(built(kind, parts, questions), questions, target.recall)
    return Trial(index, recall, median_ms(index, questions.asked))


def built(kind: IndexKind, parts: Vectors, questions: Questions) -> VectorIndex:
    """An index of this kind that is not tuned yet, trained without the questions."""
    form = kind.form(questions.count, questions.products.shape[1])
    if form.kind is DISK:
        return parts.on_disk(form)
    held_out = questions.own if questions.own.size <= _HELD_OUT * questions.count else None
    # Too few for lists come to be of another kind, on disk too.
    kind = form.kind if kind is DISK else kind
    return VectorIndex.build(parts, kind=kind, expected=questions.count, held_out=held_out)


def _better(one: Trial, other: Trial, target: IndexTarget) -> bool:
    """The right recall first, then the time; where neither has it, what comes nearest."""
    enough = one.recall >= target.recall, other.recall >= target.recall
    if enough[0] != enough[1]:
        return enough[0]
    return one.median_ms < other.median_ms if enough[0] else one.recall > other.recall


def tuned(index: VectorIndex, questions: Questions, recall: float) -> tuple[VectorIndex, float]:
    """The index with the narrowest search that has this recall, or the widest that is tried; and its recall."""
    if index.form.kind.breadth is None:
        return index, questions.recall(index)
    steps = breadths(min(index.widest, _WIDEST_GRAPH) if index.form.kind.breadth == EF_SEARCH else index.widest)

    @cache
    def found(step: int) -> float:
        return questions.recall(index.searched(steps[step]))

    # Twice as widely each time, then what lies between: a search costs as much as it is wide.
    doublings = [*range(0, len(steps), _STEPS_A_DOUBLING), len(steps) - 1]
    enough = next((step for step in doublings if found(step) >= recall), len(steps) - 1)
    below = range(max(enough - _STEPS_A_DOUBLING, 0), enough)
    step = below.start + bisect_left(below, True, key=lambda step: found(step) >= recall)
    return index.searched(steps[step]), found(step)


def median_ms(index: VectorIndex, queries: FloatArray, k: int = 10) -> float:
    """Milliseconds of one query that comes alone, the median over some."""
    took = []
    for query in (*queries[:3], *queries[:_TIMED]):  # the first ones only warm up
        started = time.perf_counter()
        index.search(query[None], k)
        took.append(time.perf_counter() - started)
    return statistics.median(took[3:] or took) * 1000


def breadths(widest: int) -> list[int]:
    """1, 2, ..., 8, 10, 12, 14, 16, 20, ... and the widest: each at most a quarter more than the one before."""
    quarters = range(_STEPS_A_DOUBLING, 2 * _STEPS_A_DOUBLING)
    steps = {2**power * quarter // _STEPS_A_DOUBLING for power in range(widest.bit_length()) for quarter in quarters}
    return sorted({step for step in steps if step < widest} | {widest})
