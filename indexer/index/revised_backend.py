"""An index with vectors appended to it: candidates come from both, and look as if one index had found them.

Letters: B queries, C candidates, M vectors of the index, N appended ones, K positions, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from indexer.index.appended_vectors import AppendedVectors
from indexer.index.backend import IndexBackend, Neighbours, count_before_filter, filter_candidates
from indexer.index.faiss_backend import FaissBackend
from indexer.index.selection import Selection
from ubm_embed.data.arrays import FloatArray, IntArray

# Where as large a share is visible, dropping the others is faster than FAISS's look at every id: they lie anywhere, so
# few of them are found. What a filter excludes may be all that is near.
_NEARLY_ALL = 0.8


class RevisedBackend:
    """An `IndexBackend` over M + N vectors.

    Args:
        base: the index as it was built.
        appended: vectors for it.
        visible: which of the M + N may be found at all, so that most searches allow just these; None for all.
    """

    def __init__(self, base: IndexBackend, appended: AppendedVectors, visible: Selection | None = None) -> None:
        self._base, self._appended = base, appended
        self._visible = visible
        self._base_count, self._count = len(base), len(base) + len(appended)
        self.dimension = base.dimension
        self.max_search_value = base.max_search_value
        self.exact_scores = base.exact_scores
        self._stack = base.stacked(appended.indexes) if isinstance(base, FaissBackend) else None

    def __len__(self) -> int:
        return self._count

    def vectors(self, positions: IntArray) -> FloatArray:
        """As `IndexBackend`."""
        positions = np.asarray(positions, np.int64)
        is_appended = positions >= self._base_count
        if not is_appended.any():
            return self._base.vectors(positions)
        vectors = np.empty((len(positions), self.dimension), np.float32)
        vectors[~is_appended] = self._base.vectors(positions[~is_appended])
        vectors[is_appended] = self._appended.vectors(positions[is_appended] - self._base_count)
        return vectors

    def search(self, queries: FloatArray, count: int, search_value: int, allowed: Selection | None) -> Neighbours:
        """As `IndexBackend`."""
        if allowed is None or allowed is not self._visible or allowed.count < _NEARLY_ALL * self._count:
            return self._search(queries, count, search_value, allowed)
        fetched = self._search(queries, count_before_filter(count, self._count, allowed), search_value, None)
        found = filter_candidates(fetched, allowed, count)
        if len(queries) == 1 and found.positions.item(-1) >= 0:
            return found
        short = np.flatnonzero((found.positions[:, -1] < 0) & (fetched.positions[:, -1] >= 0))
        if short.size:
            found.put(short, self._search(queries[short], count, search_value, allowed))
        return found

    def _search(self, queries: FloatArray, count: int, search_value: int, allowed: Selection | None) -> Neighbours:
        if self._stack is None or not isinstance(self._base, FaissBackend):
            found = self._base.search(queries, count, search_value, allowed)
            return _merged([found, *self._appended.search(queries, count, search_value, allowed)], count)
        stack = self._stack
        self._base.require_whole()
        return self._base.checked(lambda: stack.search(queries, count, search_value, allowed), self._count)

    def search_all(self, query: FloatArray, allowed: Selection | None) -> Neighbours | None:
        """As `IndexBackend`."""
        found = self._base.search_all(query, allowed)
        if found is None:
            return None
        appended = self._appended.search_all(query, self.max_search_value, allowed)
        found = _merged([found, *appended], self._count)
        return found.part(slice(None), slice(int(np.count_nonzero(found.positions >= 0))))


def _merged(parts: Sequence[Neighbours], count: int) -> Neighbours:
    """The first C of all parts, best first: [B, N] each -> [B, C]."""
    if len(parts) == 1:
        return parts[0]
    scores = np.concatenate([part.scores for part in parts], axis=1)
    positions = np.concatenate([part.positions for part in parts], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    return Neighbours(np.take_along_axis(scores, order, axis=1), np.take_along_axis(positions, order, axis=1))
