"""Indexes of lists over the same centroids, searched as one index, without copying their lists.

The nearest centroids are a quarter of a search of a million vectors: they are found once for all indexes, and what lies
in their lists is ranked together.

Letters: B queries, C candidates, P probed lists, S indexes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.index.backend import Neighbours
from indexer.index.faiss_factory import empty_lists_like, load_faiss
from indexer.index.kinds import NPROBE
from indexer.index.search_parameters import search_parameters
from indexer.index.selection import Selection
from ubm_embed.data.arrays import FloatArray


class StackedLists:
    """What several of FAISS's indexes of lists hold. List L of the second is list nlist + L here, and so on.

    Args:
        indexes: with ids that no two of them share; those of the first lead to the centroids.
    """

    def __init__(self, indexes: Sequence[Any]) -> None:
        faiss, first = load_faiss(), indexes[0]
        pointers = faiss.InvertedListsPtrVector()
        for index in indexes:
            pointers.push_back(index.invlists)
        lists = faiss.VStackInvertedLists(pointers.size(), pointers.data())
        self._index = empty_lists_like(first, len(indexes) * first.nlist)
        self._index.replace_invlists(lists, False)
        self._kept = indexes, pointers, lists  # FAISS only points to them
        self._quantizer = first.quantizer
        self._offsets = first.nlist * np.arange(len(indexes))[:, None, None]
        self._swig_ptr = faiss.swig_ptr

    def search(self, queries: FloatArray, count: int, nprobe: int, allowed: Selection | None) -> Neighbours:
        """The nearest of each query in the lists of its P nearest centroids: [B, C], padded with -1."""
        centroid_scores, lists = self._probe(queries, nprobe)
        scores, positions = np.empty((len(queries), count), np.float32), np.empty((len(queries), count), np.int64)
        parameters = search_parameters((NPROBE,), nprobe * len(self._offsets), allowed=allowed)
        arrays = map(self._swig_ptr, (lists, centroid_scores, scores, positions))
        # FAISS's wrapper for NumPy takes no parameters here, and so no selector.
        self._index.search_preassigned_c(len(queries), self._swig_ptr(queries), count, *arrays, False, parameters)
        return Neighbours(scores, positions)

    def _probe(self, queries: FloatArray, nprobe: int) -> tuple[FloatArray, NDArray[np.int64]]:
        """Scores and numbers of the lists to search, those of a query one after the other: [B, S, P] each."""
        shape = len(self._offsets), len(queries), nprobe
        scores, lists = np.empty(shape, np.float32), np.empty(shape, np.int64)
        arrays = map(self._swig_ptr, (scores, lists))
        self._quantizer.search_c(len(queries), self._swig_ptr(queries), nprobe, *arrays)
        scores[1:] = scores[0]
        np.add(lists[0], self._offsets[1:], out=lists[1:])
        if len(queries) == 1:  # in the same order in memory
            return scores, lists
        return np.ascontiguousarray(scores.swapaxes(0, 1)), np.ascontiguousarray(lists.swapaxes(0, 1))
