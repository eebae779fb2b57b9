"""Transitions of training sessions, counted part by part in bounded memory.

Letters: S sessions, M products, E entries.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ubm_embed.counts.transition_counts import TransitionCounts
from ubm_embed.data.arrays import IntArray, offsets_of
from ubm_embed.data.batches.session_table import SessionTable

NEIGHBOURS = 200  # entries that a row keeps
_MAX_DISTANCE = 5  # of a pair that counts
_SOFTENING = 0.3  # the power of how often the later product was seen
_MAX_ENTRIES = 50_000_000  # held between two parts: 400 MB


class TransitionCounter:
    """Adds up the transitions of sessions, given in parts.

    A pair of different products at most 5 positions apart adds 1 / distance to the row of the earlier one. Search
    phrases, and what was taken back out of the cart, are no positions.

    Args:
        products: M; text rows from M on are search phrases.
        neighbours: entries that a row keeps in the end.
    """

    def __init__(self, products: int, *, neighbours: int = NEIGHBOURS) -> None:
        self._neighbours = neighbours
        self._sums = csr_array((products, products), dtype=np.float32)
        self._seen = np.zeros(products, dtype=np.int64)

    def add(self, sessions: SessionTable) -> Self:
        """Count more sessions, none of which was counted before."""
        products = self._seen.size
        viewed = only_products(sessions.take_back(), products)
        self._seen += np.bincount(viewed.rows, minlength=products)
        for distance in range(1, _MAX_DISTANCE + 1):
            pairs = _pairs_apart(viewed, distance)
            weights = np.full(pairs[0].size, 1 / distance, dtype=np.float32)
            self._sums += csr_array((weights, pairs), shape=self._sums.shape)
        if self._sums.nnz > _MAX_ENTRIES:
            self._sums = largest_of_rows(self._sums, max(1, min(self._neighbours, _MAX_ENTRIES // (2 * products))))
        return self

    @property
    def seen(self) -> NDArray[np.int64]:
        """[M] interactions with each product."""
        return self._seen

    @property
    def pairs(self) -> int:
        """E, of all pairs so far."""
        return int(self._sums.nnz)

    def finish(self) -> TransitionCounts:
        """The counts, softened, each row cut to its largest entries."""
        popularity = np.maximum(self._seen, 1).astype(np.float32) ** np.float32(-_SOFTENING)
        softened = csr_array(self._sums.multiply(popularity[None, :]))
        return from_sparse(largest_of_rows(softened, self._neighbours))


def count_transitions(sessions: SessionTable, products: int, *, neighbours: int = NEIGHBOURS) -> TransitionCounts:
    """The softened transition counts of sessions that are in memory as a whole, see `TransitionCounter`."""
    return TransitionCounter(products, neighbours=neighbours).add(sessions).finish()


def only_products(sessions: SessionTable, products: int) -> SessionTable:
    """The sessions without their search phrases; some may be empty."""
    is_product = sessions.rows < products
    offsets = offsets_of(is_product.astype(np.int64))[sessions.offsets]
    return SessionTable(sessions.actions[is_product], sessions.rows[is_product], offsets)


def largest_of_rows(matrix: csr_array, count: int) -> csr_array:
    """A matrix with the `count` largest entries of each row; of equal ones those further left."""
    lengths = np.diff(matrix.indptr)
    if lengths.size == 0 or lengths.max() <= count:
        return matrix
    rows = np.repeat(np.arange(lengths.size), lengths)
    order = np.lexsort((matrix.indices, -matrix.data, rows))
    rank = np.arange(order.size) - np.repeat(matrix.indptr[:-1], lengths)
    kept = np.sort(order[rank < count])
    return csr_array(
        (matrix.data[kept], matrix.indices[kept], offsets_of(np.minimum(lengths, count))), shape=matrix.shape
    )


def from_sparse(matrix: csr_array) -> TransitionCounts:
    """The counts in a sparse [M, M]."""
    matrix.sum_duplicates()  # sorts each row as well
    values = matrix.data.astype(np.float32)
    return TransitionCounts(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), values)


def to_sparse(counts: TransitionCounts) -> csr_array:
    """[M, M] float32."""
    shape = (counts.products, counts.products)
    return csr_array((counts.values.astype(np.float32), counts.neighbours, counts.offsets), shape=shape)


def _pairs_apart(sessions: SessionTable, distance: int) -> tuple[IntArray, IntArray]:
    """Pairs of different products `distance` apart in a session: the earlier ones [P], the later ones [P]."""
    session_of = sessions.session_of()
    earlier, later = sessions.rows[:-distance], sessions.rows[distance:]
    paired = (session_of[:-distance] == session_of[distance:]) & (earlier != later)
    return earlier[paired], later[paired]
