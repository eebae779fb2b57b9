"""Baselines that every model has to beat: popular products, and those that share sessions with the ones at hand.

What was taken back out of the cart counts nowhere.

Letters: E examples, S sessions, M products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ubm_embed.counts.counting import only_products, pairs_apart
from ubm_embed.counts.session_counts import SessionCounts
from ubm_embed.data.arrays import BoolArray, FloatArray
from ubm_embed.data.batches.session_table import SessionTable

_MAX_DISTANCE = 10  # of a pair that counts; item embeddings start from these counts, too (`neighbour_vectors`)
_MAX_RECENT = 8  # products of a session that scores are made from


class Scorer(Protocol):
    """Scores every product as the next one of a session."""

    def scores(self, prefixes: SessionTable) -> FloatArray:
        """E sessions -> [E, M], higher is better."""


def session_products(sessions: SessionTable, products: int) -> csr_array:
    """A sparse [S, M] with a one for each product of each session, also if it was taken back out of the cart."""
    is_product = sessions.rows < products
    ones = np.ones(int(is_product.sum()), dtype=np.float32)
    where = (sessions.session_of()[is_product], sessions.rows[is_product])
    held = csr_array((ones, where), shape=(len(sessions), products))
    held.sum_duplicates()
    held.data[:] = 1.0
    return held


@dataclass(frozen=True)
class Popularity:
    """POP: products by how many training sessions hold them, the same for every session.

    Attributes:
        counts: [M].
    """

    counts: FloatArray

    @classmethod
    def fit(cls, sessions: SessionTable, products: int) -> Self:
        """Count sessions."""
        return cls(session_products(sessions.take_back(), products).sum(axis=0).astype(np.float32))

    def scores(self, prefixes: SessionTable) -> FloatArray:
        """[E, M]."""
        return np.broadcast_to(self.counts, (len(prefixes), self.counts.size))


@dataclass(frozen=True)
class CoOccurrence:
    """Item to item: products by how often they share a session with the ones at hand, over the root of both counts.

    Attributes:
        similarity: sparse [M, M], 0 on the diagonal.
    """

    similarity: csr_array

    @classmethod
    def fit(cls, sessions: SessionTable, products: int) -> Self:
        """Count pairs of products in a session."""
        held = session_products(sessions.take_back(), products)
        return cls(_over_root_counts(held.T @ held, held))

    def scores(self, prefixes: SessionTable) -> FloatArray:
        """[E, M]."""
        held = session_products(prefixes.take_back(), self.similarity.shape[0])
        scores: FloatArray = (held @ self.similarity).toarray()
        return scores


@dataclass(frozen=True)
class RecentCoOccurrence:
    """Item to item by distance: products that were close to the last ones of the session at hand.

    A pair of different products at most 10 positions apart in a training session adds 1 / distance; the sum is divided
    by the root of both products' session counts. The last product of a session weighs 1, each one before it half as
    much, and 8 are used. Search phrases do not count as positions.

    Attributes:
        similarity: sparse [M, M], symmetric, 0 on the diagonal.
    """

    similarity: csr_array

    @classmethod
    def fit(cls, sessions: SessionTable, products: int) -> Self:
        """Add up pairs, distance by distance."""
        sessions = sessions.take_back()
        near, viewed = csr_array((products, products), dtype=np.float32), only_products(sessions, products)
        for distance in range(1, _MAX_DISTANCE + 1):
            pairs = pairs_apart(viewed, distance)
            weights = np.full(pairs[0].size, 1 / distance, dtype=np.float32)
            near += csr_array((weights, pairs), shape=near.shape)
        return cls(_over_root_counts(near + near.T, session_products(sessions, products)))

    def scores(self, prefixes: SessionTable) -> FloatArray:
        """[E, M]."""
        products = self.similarity.shape[0]
        recent = only_products(prefixes.take_back(), products).last(_MAX_RECENT)
        steps_back = np.repeat(recent.offsets[1:], recent.lengths) - 1 - np.arange(recent.rows.size)
        where = (recent.session_of(), recent.rows)
        weights = csr_array(((0.5**steps_back).astype(np.float32), where), shape=(len(recent), products))
        scores: FloatArray = (weights @ self.similarity).toarray()
        return scores


@dataclass(frozen=True)
class DirectionalCounts:
    """What came after the last products of a session: the counts that a model has beside its cosines, alone.

    They are counted and weighted by the defaults of `CountWeights`.
    """

    counts: SessionCounts

    @classmethod
    def fit(cls, sessions: SessionTable, products: int) -> Self:
        """Count transitions."""
        return cls(SessionCounts.fit(sessions, products))

    def scores(self, prefixes: SessionTable) -> FloatArray:
        """[E, M]."""
        scores: FloatArray = self.counts.sums(prefixes).toarray()
        return scores


def _over_root_counts(together: csr_array, held: csr_array) -> csr_array:
    """[M, M] over the root of both products' session counts, without the diagonal; `held` is [S, M]."""
    pairs, counts = together.tocoo(), held.sum(axis=0)
    apart = pairs.row != pairs.col
    rows, columns = pairs.row[apart], pairs.col[apart]
    values = pairs.data[apart] / np.sqrt(counts[rows] * counts[columns])
    return csr_array((values.astype(np.float32), (rows, columns)), shape=together.shape)


def seen_products(prefixes: SessionTable, products: int) -> BoolArray:
    """[E, M] which products each prefix holds already."""
    seen: NDArray[np.bool_] = session_products(prefixes, products).toarray() > 0
    return seen
