"""How well an index agrees with the exact search.

Letters: B queries, K matches, M products, D width.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from indexer.index.vector_index import NOISE, Neighbours
from ubm_embed.data.arrays import FloatArray, IntArray

# Positions of the K nearest of queries: [B, D] and K -> [B, K]; -1 where there are too few.
Search = Callable[[FloatArray, int], IntArray]


def recall_at_k(
    search: Search,
    queries: FloatArray,
    exact: Neighbours,
    vectors: Callable[[IntArray], FloatArray],
    own: IntArray | None = None,
) -> float:
    """Share of the exact K nearest that a search finds.

    A match counts when its vector scores as high as the exact K-th: which of several equal products is found does not
    matter.

    Args:
        queries: [B, D], at least one.
        exact: their nearest by the exact search: [B, K], best first.
        vectors: the vectors that the index was built from, by their positions: [N] -> [N, D]. The index's own are not
            trusted: it may have stored them inexactly, or in another order.
        own: where each query itself stands in the index, which does not count: it is too easily found; [B]. None where
            they do not. K - 1 others are then wanted.
    """
    k = exact.scores.shape[1]
    found = search(queries, k)
    scores = scores_of(queries, vectors(found.ravel()).reshape(*found.shape, -1))
    right = (scores >= exact.scores[:, -1:] - NOISE) & (found >= 0)
    if own is not None:
        right, k = right & (found != own[:, None]), k - 1
    return float(np.minimum(right.sum(axis=1), k).sum() / (len(queries) * k)) if k else 1.0


def scores_of(queries: FloatArray, candidates: FloatArray) -> FloatArray:
    """Inner products of each query with its own candidates: [B, D] and [B, N, D] -> [B, N]."""
    scores: FloatArray = np.einsum("bd,bnd->bn", queries, candidates)
    return scores
