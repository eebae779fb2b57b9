"""Indexes of lists over the same centroids, searched as one index, without copying their lists.

The nearest centroids are a quarter of a search of a million vectors: they are found once for all indexes, and what lies
in their lists is ranked together.

Letters: B queries, C candidates, P probed lists, S indexes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

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
        self._offsets = first.nlist * np.arange(len(indexes))[:, None]

    def search(self, queries: FloatArray, count: int, nprobe: int, allowed: Selection | None) -> Neighbours:
        """The nearest of each query in the lists of its P nearest centroids: [B, C], padded with -1."""
        centroid_scores, lists = self._quantizer.search(queries, nprobe)
        stacked = np.shape(lists)[0], len(self._offsets), nprobe
        lists = np.ascontiguousarray((lists[:, None] + self._offsets), np.int64)
        centroid_scores = np.ascontiguousarray(np.broadcast_to(centroid_scores[:, None], stacked))
        scores, positions = np.empty((len(queries), count), np.float32), np.empty((len(queries), count), np.int64)
        swig_ptr, parameters = (
            load_faiss().swig_ptr,
            search_parameters((NPROBE,), nprobe * len(self._offsets), allowed=allowed),
        )
        # FAISS's own wrapper for NumPy takes no parameters here, and so no selector.
        inputs = len(queries), swig_ptr(queries), count, swig_ptr(lists), swig_ptr(centroid_scores)
        self._index.search_preassigned_c(*inputs, swig_ptr(scores), swig_ptr(positions), False, parameters)
        return Neighbours(scores, positions)
