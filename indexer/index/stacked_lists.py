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
        shape = len(self._offsets), len(queries), nprobe
        centroid_scores, lists = np.empty(shape, np.float32), np.empty(shape, np.int64)
        # FAISS's wrappers for NumPy take as long as the vectors that were appended, and no selector here.
        batch = len(queries), self._swig_ptr(queries)
        self._quantizer.search_c(*batch, nprobe, self._swig_ptr(centroid_scores), self._swig_ptr(lists))
        centroid_scores[1:] = centroid_scores[0]
        np.add(lists[0], self._offsets[1:], out=lists[1:])
        lists, centroid_scores = _by_query(lists), _by_query(centroid_scores)
        probed = self._swig_ptr(lists), self._swig_ptr(centroid_scores)
        scores, positions = np.empty((len(queries), count), np.float32), np.empty((len(queries), count), np.int64)
        parameters = search_parameters((NPROBE,), nprobe * len(self._offsets), allowed=allowed)
        outputs = self._swig_ptr(scores), self._swig_ptr(positions)
        self._index.search_preassigned_c(*batch, count, *probed, *outputs, False, parameters)
        return Neighbours(scores, positions)


def _by_query(probed: NDArray[Any]) -> NDArray[Any]:
    """[S, B, P] -> [B, S * P], one after the other in memory."""
    return np.ascontiguousarray(probed.swapaxes(0, 1).reshape(probed.shape[1], probed.shape[0] * probed.shape[2]))
