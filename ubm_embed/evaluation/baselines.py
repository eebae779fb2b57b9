"""What every model has to beat: the most popular products, and those that stood in sessions with these.

Letters: E questions, M products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ubm_embed.data.arrays import BoolArray, FloatArray
from ubm_embed.data.session_table import SessionTable


class Scorer(Protocol):
    """Scores every product as the next one of a session."""

    def scores(self, prefixes: SessionTable) -> FloatArray:
        """E sessions -> [E, M], higher is better."""


def session_products(sessions: SessionTable, products: int) -> csr_array:
    """Which products each session holds: a sparse [S, M] of ones."""
    is_product = sessions.rows < products
    ones = np.ones(int(is_product.sum()), dtype=np.float32)
    where = (sessions.session_of()[is_product], sessions.rows[is_product])
    held = csr_array((ones, where), shape=(len(sessions), products))
    held.sum_duplicates()
    held.data[:] = 1.0
    return held


@dataclass(frozen=True)
class Popularity:
    """POP: products by how many training sessions hold them, whatever the session.

    Attributes:
        counts: [M].
    """

    counts: FloatArray

    @classmethod
    def fit(cls, sessions: SessionTable, products: int) -> Self:
        """Count."""
        return cls(session_products(sessions, products).sum(axis=0).astype(np.float32))

    def scores(self, prefixes: SessionTable) -> FloatArray:
        """[E, M]."""
        return np.broadcast_to(self.counts, (len(prefixes), self.counts.size))


@dataclass(frozen=True)
class CoOccurrence:
    """Item to item: products by how often they shared a session with the ones at hand, over the root of both counts.

    Attributes:
        similarity: sparse [M, M], 0 on the diagonal.
    """

    similarity: csr_array

    @classmethod
    def fit(cls, sessions: SessionTable, products: int) -> Self:
        """Count pairs."""
        held = session_products(sessions, products)
        together = (held.T @ held).tocoo()
        counts = held.sum(axis=0)
        apart = together.row != together.col
        rows, columns = together.row[apart], together.col[apart]
        values = together.data[apart] / np.sqrt(counts[rows] * counts[columns])
        return cls(csr_array((values.astype(np.float32), (rows, columns)), shape=(products, products)))

    def scores(self, prefixes: SessionTable) -> FloatArray:
        """[E, M]."""
        held = session_products(prefixes, self.similarity.shape[0])
        scores: FloatArray = (held @ self.similarity).toarray()
        return scores


def seen_products(prefixes: SessionTable, products: int) -> BoolArray:
    """[E, M] which products a session holds already."""
    seen: NDArray[np.bool_] = session_products(prefixes, products).toarray() > 0
    return seen
