"""What finds candidates for an index, behind one interface (FAISS in memory, LanceDB on disk), and what it gives back.

Letters: B queries, C candidates, K matches, M vectors, D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import sub
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.index.selection import Selection
from ubm_embed.data.arrays import FloatArray, IntArray

# How far apart two float32 sums of the same inner product may lie, when the terms of two unit vectors are added up in
# another order: 17 units in the last place of 1.
NOISE = 2e-6


class Neighbours(NamedTuple):
    """The nearest vectors of each query, best first.

    Attributes:
        scores: inner products, [B, K]; -inf where there is no neighbour.
        positions: rows of the vectors that the index was built from, [B, K]; -1 where there is no neighbour.
    """

    scores: FloatArray
    positions: NDArray[np.int64]

    def part(self, rows: slice, columns: slice = slice(None)) -> Neighbours:
        """Those of some queries, or only the best few of them."""
        return Neighbours(self.scores[rows, columns], self.positions[rows, columns])

    def put(self, rows: NDArray[Any], others: Neighbours) -> None:
        """Overwrite the neighbours of some queries."""
        self.scores[rows], self.positions[rows] = others


class IndexBackend(Protocol):
    """Vectors by position, and a search for those nearest to a query. It may miss some, and order ties as it likes.

    Attributes:
        dimension: width of the vectors, D.
        max_search_value: the value of the search parameter with which nothing is skipped.
        exact_scores: whether scores are those of the vectors as stored, up to the order in which terms are added.
    """

    @property
    def dimension(self) -> int: ...
    @property
    def max_search_value(self) -> int: ...
    @property
    def exact_scores(self) -> bool: ...

    def __len__(self) -> int: ...

    def search(self, queries: FloatArray, count: int, search_value: int, allowed: Selection | None) -> Neighbours:
        """The C vectors that seem nearest to each query: [B, C], best first, padded at the end with -1.

        Args:
            queries: [B, D].
            count: C.
            search_value: of the kind's search parameter, `nprobe` or `efSearch`.
            allowed: which of the M vectors may be found; None for all of them.
        """
        ...

    def search_all(self, query: FloatArray, allowed: Selection | None) -> Neighbours | None:
        """All that may be found for one query [1, D], best first, in one pass; None if it must read them all."""
        ...

    def vectors(self, positions: IntArray) -> FloatArray:
        """Vectors at these positions, as they are stored: [K] -> [K, D]."""
        ...


@dataclass(slots=True)
class SearchRequest:
    """What is wanted of a search.

    Attributes:
        k: neighbours of each query.
        available: how many vectors may be found at all.
        allowed: which these are; None for all of them.
    """

    k: int
    available: int
    allowed: Selection | None


@dataclass(slots=True)
class Candidates:
    """What one search of a backend found, best first.

    Attributes:
        scores: [B, C].
        positions: [B, C]; -1 where there is none.
        complete: whether C is every vector that may be found.
        exhaustive: whether the backend skipped nothing.
    """

    scores: FloatArray
    positions: NDArray[np.int64]
    complete: bool
    exhaustive: bool

    def of_queries(self, rows: NDArray[Any]) -> Candidates:
        """The candidates of some queries."""
        return Candidates(self.scores[rows], self.positions[rows], self.complete, self.exhaustive)

    def has_certain_order(self, k: int) -> bool:
        """For a single query: whether the first K are its nearest, in an order that no rounding can change.

        Written without numpy: a fast index answers in the time of a few of its calls.
        """
        scores = self.scores[0, : k + 1].tolist()
        return self.positions.item(-1) >= 0 and min(map(sub, scores, scores[1:]), default=1.0) > NOISE

    def has_enough(self, k: int) -> NDArray[np.bool_]:
        """Which queries have K candidates: [B]."""
        return self.positions[:, k - 1] >= 0

    def decide(self, k: int) -> NDArray[np.bool_]:
        """Which queries have K candidates, and all of those that tie with the K-th: [B]."""
        beyond_the_tie = self.scores[:, -1] < self.scores[:, k - 1] - NOISE
        return self.has_enough(k) & (beyond_the_tie | self.complete)


def count_before_filter(count: int, total: int, allowed: Selection | None) -> int:
    """How many candidates to ask of a backend that cannot filter, so that about `count` allowed ones remain."""
    if allowed is None:
        return count
    return min(math.ceil(1.5 * count * total / max(allowed.count, 1)), total)


def filter_candidates(found: Neighbours, allowed: Selection, count: int) -> Neighbours:
    """The first C candidates that are allowed, in their order: for a backend that cannot filter."""
    if len(found.positions) == 1 and found.positions.item(-1) >= 0:  # no more work than a single query is worth
        columns = allowed.mask[found.positions[0]].nonzero()[0][:count]
        if columns.size == count:
            return Neighbours(found.scores.take(columns, axis=1), found.positions.take(columns, axis=1))
    dropped = (found.positions < 0) | ~allowed.mask[found.positions]
    first = np.argsort(dropped, axis=1, kind="stable")[:, :count]
    scores, positions = np.where(dropped, -np.inf, found.scores), np.where(dropped, -1, found.positions)
    return Neighbours(np.take_along_axis(scores, first, axis=1), np.take_along_axis(positions, first, axis=1))
