"""An index with vectors appended to it: candidates come from both, and look as if one index had found them.

Letters: B queries, C candidates, M vectors of the index, N appended ones, K positions, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from indexer.index.appended_vectors import AppendedVectors
from indexer.index.backend import IndexBackend, Neighbours
from indexer.index.faiss_backend import FaissBackend
from indexer.index.selection import Selection
from ubm_embed.data.arrays import FloatArray, IntArray


class RevisedBackend:
    """An `IndexBackend` over M + N vectors.

    Args:
        base: the index as it was built.
        appended: vectors for it.
    """

    def __init__(self, base: IndexBackend, appended: AppendedVectors) -> None:
        self._base, self._appended = base, appended
        self._base_count = len(base)
        self.dimension = base.dimension
        self.max_search_value = base.max_search_value
        self.exact_scores = base.exact_scores

    def __len__(self) -> int:
        return self._base_count + len(self._appended)

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
        if not len(self._appended):
            return self._base.search(queries, count, search_value, allowed)
        if not isinstance(self._base, FaissBackend):
            found = self._base.search(queries, count, search_value, allowed)
            return _merged([found, *self._appended.search(queries, count, search_value, allowed)], count)
        probed = self._base.probe(queries, search_value)
        found = self._base.search(queries, count, search_value, allowed, probed)
        return _merged([found, *self._appended.search(queries, count, search_value, allowed, probed)], count)

    def search_all(self, query: FloatArray, allowed: Selection | None) -> Neighbours | None:
        """As `IndexBackend`."""
        found = self._base.search_all(query, allowed)
        if found is None:
            return None
        appended = self._appended.search_all(query, self.max_search_value, allowed)
        found = _merged([found, *appended], len(self))
        count = int(np.count_nonzero(found.positions >= 0))
        return found.part(slice(None), slice(count))


def _merged(parts: Sequence[Neighbours], count: int) -> Neighbours:
    """The first C of all parts, best first: [B, N] each -> [B, C]."""
    scores = np.concatenate([part.scores for part in parts], axis=1)
    positions = np.concatenate([part.positions for part in parts], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    return Neighbours(np.take_along_axis(scores, order, axis=1), np.take_along_axis(positions, order, axis=1))
