"""Selections so small that each of their vectors is scored, whatever the index, so that a strict filter misses nothing.

Letters: K matches, P positions, D width.
"""

from __future__ import annotations

from threading import Lock
from typing import NamedTuple
from weakref import WeakSet

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from indexer.index.backend import NOISE, Neighbours
from indexer.index.exact_ranking import Vectors, exact_scores, rank
from indexer.index.selection import Selection
from ubm_embed.data.arrays import FloatArray

_MAX_BYTES = 2**26
# Up to this many always; up to the larger number if they are so small a part of the index that a search of it would
# look at nearly everything to find them.
_MAX_VECTORS, _MAX_VECTORS_OF_LARGE, _SMALL_PART = 4096, 16_384, 50


class _Decoded(NamedTuple):
    vectors: FloatArray
    nbytes: int  # the selection included, which is their key


class ScannedSelections:
    """Decoded vectors of small selections. Those of selections that are used again are kept, up to a number of bytes.

    Args:
        vectors: of the index, by their positions.
        max_bytes: for what is kept.
    """

    def __init__(self, vectors: Vectors, max_bytes: int = _MAX_BYTES) -> None:
        self._vectors = vectors
        self._used: WeakSet[Selection] = WeakSet()
        self._kept: LRUCache[Selection, _Decoded] = LRUCache(max_bytes, lambda kept: kept.nbytes)
        self._lock = Lock()

    @staticmethod
    def are_faster(allowed: Selection) -> bool:
        """Whether scoring all vectors of a selection is faster than searching the index for the nearest of them."""
        return allowed.count <= max(_MAX_VECTORS, min(_MAX_VECTORS_OF_LARGE, len(allowed) // _SMALL_PART))

    def search(self, queries: FloatArray, k: int, allowed: Selection) -> Neighbours:
        """The K nearest of each query by exact scores, K at most P: [B, D] -> [B, K]."""
        vectors = self._decoded(allowed)
        found = Neighbours(np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64))
        for row, query in enumerate(queries):  # one by one: together their scores might not fit into memory
            near = _nearest(vectors, query, k)
            scores = exact_scores(vectors.__getitem__, query[None], near[None])
            best = rank(scores, allowed.positions[near][None], k)
            found.put(np.array([row]), best)
        return found

    def _decoded(self, allowed: Selection) -> FloatArray:
        """Vectors of a selection: [P, D]."""
        with self._lock:
            kept = self._kept.get(allowed)
            used_before = allowed in self._used
            self._used.add(allowed)
        if kept is not None:
            return kept.vectors
        vectors = self._vectors(allowed.positions)
        nbytes = vectors.nbytes + allowed.nbytes
        if used_before and nbytes <= self._kept.maxsize:
            with self._lock:
                self._kept[allowed] = _Decoded(vectors, nbytes)
        return vectors


def _nearest(vectors: FloatArray, query: FloatArray, k: int) -> NDArray[np.int64]:
    """Which vectors may be among the K nearest by exact scores, in order: [P, D] -> [N], N at least K."""
    if k >= len(vectors):
        return np.arange(len(vectors))
    scores = np.vecdot(vectors, query)
    return np.flatnonzero(scores >= np.partition(scores, -k)[-k] - 2 * NOISE)
