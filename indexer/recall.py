"""How well an index agrees with the exact search.

Letters: B queries, K matches, M products, D width.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from indexer.index import NOISE, Neighbours, VectorIndex
from ubm_embed.data.arrays import FloatArray, IntArray


def index_recall_at_k(
    index: VectorIndex, queries: FloatArray, exact: Neighbours, vectors: Callable[[IntArray], FloatArray]
) -> float:
    """Share of the exact K nearest that the index finds.

    A match counts when its vector scores as high as the exact K-th: which of several equal products is found does not
    matter.

    Args:
        queries: [B, D], at least one.
        exact: their nearest by the exact search: [B, K], best first.
        vectors: the vectors that the index was built from, by their positions: [N] -> [N, D]. The index's own are not
            trusted: it may have stored them inexactly, or in another order.
    """
    k = exact.scores.shape[1]
    found = index.search(queries, k).positions
    scores = scores_of(queries, vectors(found.ravel()).reshape(*found.shape, -1))
    return float((scores >= exact.scores[:, -1:] - NOISE).sum() / exact.scores.size)


def scores_of(queries: FloatArray, candidates: FloatArray) -> FloatArray:
    """Inner products of each query with its own candidates: [B, D] and [B, N, D] -> [B, N]."""
    scores: FloatArray = np.einsum("bd,bnd->bn", queries, candidates)
    return scores
