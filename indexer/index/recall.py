"""How well an index agrees with the exact search: recall at K, and the queries that it is measured with.

Letters: B queries, K matches, M products, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from indexer.index.backend import NOISE, Neighbours
from indexer.index.vector_index import VectorIndex
from ubm_embed.data.arrays import FloatArray, IntArray

# Positions of the K nearest of queries: [B, D] and K -> [B, K]; -1 where there are too few.
Search = Callable[[FloatArray, int], IntArray]

# An index is trained without the queries, but a small catalogue needs every vector for its training.
_MAX_HELD_OUT = 0.05
# Two unit vectors with a shorter sum are opposite, and have no direction between them.
_OPPOSITE = 1e-3


def recall_at_k(
    search: Search,
    queries: FloatArray,
    exact: Neighbours,
    vectors: Callable[[IntArray], FloatArray],
    own: IntArray | None = None,
) -> float:
    """The share of the exact K nearest that a search finds.

    A match counts if its vector scores as high as the exact K-th: of several equal products any will do.

    Args:
        queries: [B, D], at least one.
        exact: their nearest by the exact search: [B, K], best first.
        vectors: the vectors that the index was built from, by their positions: [N] -> [N, D]. Those in the index are
            not trusted: it may have stored them inexactly, or in another order.
        own: the position of each query in the index, if it has one: [B]. A query finds itself too easily, so it does
            not count, and K - 1 others are wanted.
    """
    k = exact.scores.shape[1]
    positions = search(queries, k)
    scores = candidate_scores(queries, vectors(positions.ravel()).reshape(*positions.shape, -1))
    right = (scores >= exact.scores[:, -1:] - NOISE) & (positions >= 0)
    if own is not None:
        right, k = right & (positions != own[:, None]), k - 1
    return float(np.minimum(right.sum(axis=1), k).sum() / (len(queries) * k)) if k else 1.0


def candidate_scores(queries: FloatArray, candidates: FloatArray) -> FloatArray:
    """Inner products of each query and its own candidates: [B, D] and [B, N, D] -> [B, N]."""
    scores: FloatArray = np.einsum("bd,bnd->bn", queries, candidates)
    return scores


@dataclass(frozen=True)
class TuningQueries:
    """Queries with known answers: products, and midpoints of two products.

    The vector of a session that holds two kinds of products lies between them, where an index has a harder time: one
    that found 0.99 of what is near to products found 0.87 of what is near to sessions. The midpoint of two random
    products is a little harder than a session, and can be had without sessions.

    Attributes:
        products: vectors of the catalogue, [B, D].
        rows: their positions in it, [B].
        nearest: their exact nearest, themselves among them: [B, K + 1].
        midpoints: vectors of length 1 halfway between two products, [B', D].
        nearest_midpoints: their exact nearest: [B', K + 1].
        vectors: the catalogue's, by their positions: [N] -> [N, D].
        count: M.
    """

    products: FloatArray
    rows: IntArray
    nearest: Neighbours
    midpoints: FloatArray
    nearest_midpoints: Neighbours
    vectors: Callable[[IntArray], FloatArray]
    count: int

    @property
    def like_sessions(self) -> FloatArray:
        """The queries that are more like sessions, with which the time of a search is measured."""
        return self.midpoints if len(self.midpoints) else self.products

    @property
    def held_out(self) -> IntArray | None:
        """Rows that an index is not trained with; None if the catalogue is so small that it needs them."""
        return self.rows if self.rows.size <= _MAX_HELD_OUT * self.count else None

    def recall(self, index: VectorIndex) -> float:
        """As `recall_of`, of an index."""
        return self.recall_of(lambda queries, k: index.search(queries, k).positions)

    def recall_of(self, search: Search) -> float:
        """The share of the exact K nearest that a search finds: of products or of midpoints, whichever is lower."""
        recalls = [recall_at_k(search, self.products, self.nearest, self.vectors, self.rows)]
        if len(self.midpoints):
            nearest = self.nearest_midpoints.part(slice(None), slice(-1))
            recalls.append(recall_at_k(search, self.midpoints, nearest, self.vectors))
        return min(recalls)


def midpoints_of(vectors: FloatArray) -> FloatArray:
    """Unit vectors halfway between each vector and another of them, always the same: [B, D] -> [B', D].

    B' is below B where two vectors are opposite, and 0 for a single vector.
    """
    if len(vectors) < 2:
        return vectors[:0]
    sums = vectors + np.roll(vectors, len(vectors) // 2, axis=0)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    usable = lengths[:, 0] > _OPPOSITE
    midpoints: FloatArray = (sums[usable] / lengths[usable]).astype(np.float32)
    return midpoints
