"""How well an index agrees with the exact search.

Letters: B queries, K matches, M products, D width.
"""

from __future__ import annotations

import numpy as np

from indexer.index import NOISE, VectorIndex
from ubm_embed.data.arrays import FloatArray

_QUERIES_AT_ONCE = 16


def index_recall_at_k(index: VectorIndex, vectors: FloatArray, queries: FloatArray, k: int = 10) -> float:
    """Share of the exact K nearest that the index finds: K = min(k, M).

    A match counts when it scores as high as the exact K-th: which of several equal products is found does not matter.

    Args:
        vectors: [M, D], those the index was built from.
        queries: [B, D], at least one.
    """
    k = min(k, len(vectors))
    hits = 0
    for first in range(0, len(queries), _QUERIES_AT_ONCE):
        some = queries[first : first + _QUERIES_AT_ONCE]
        exact = some @ vectors.T
        least = np.partition(exact, -k, axis=1)[:, -k, None]
        found = index.search(some, k).positions
        hits += int((np.take_along_axis(exact, found, axis=1) >= least - NOISE).sum())
    return hits / (len(queries) * k)
