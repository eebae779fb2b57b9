"""VMIS-kNN: products of the training sessions that resemble the one at hand (Kersbergen, Sprangers, Schelter 2022).

Letters: E examples, S training sessions, M products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.sparse import csr_array

from ubm_embed.counts.counting import largest_of_rows, only_products
from ubm_embed.data.arrays import FloatArray, IntArray, offsets_of, ragged_index
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.evaluation.baselines import session_products

_MAX_RECENT = 9  # products of a session at hand; the weight of a match falls from .9 to .1 over them
_MAX_SESSIONS = 500  # the latest training sessions of a product that are compared
_MAX_NEIGHBOURS = 100  # the most similar of them, which score


@dataclass(frozen=True)
class SessionNeighbours:
    """VMIS-kNN, with the training sessions in the order of their table, the latest last.

    Each of the last 9 products of a session of length n weighs its position over n. A training session's similarity is
    the sum over the products that they share; of a product's sessions the latest 500 are compared, and the 100 most
    similar ones score: each of their products gains similarity x (1 - steps back to the latest shared product / 10) x
    the logarithm of the share of sessions that hold it, inverted.

    Attributes:
        held: sparse [S, M], the logarithm for each product of a session.
        latest: sparse [M, S], a one for each of a product's latest sessions.
    """

    held: csr_array
    latest: csr_array

    @classmethod
    def fit(cls, sessions: SessionTable, products: int) -> Self:
        """Index sessions."""
        held = session_products(sessions.take_back(), products)
        sessions_with = held.sum(axis=0)
        rarity = np.log(np.maximum(len(sessions), 1) / np.maximum(sessions_with, 1)).astype(np.float32)
        latest = csr_array(held.T)
        latest.sort_indices()
        starts = np.maximum(latest.indptr[:-1], latest.indptr[1:] - _MAX_SESSIONS)
        kept = ragged_index(starts, latest.indptr[1:] - starts)
        offsets = offsets_of(latest.indptr[1:] - starts)
        latest = csr_array((latest.data[kept], latest.indices[kept], offsets), shape=latest.shape)
        return cls(csr_array((rarity[held.indices], held.indices, held.indptr), shape=held.shape), latest)

    def scores(self, prefixes: SessionTable) -> FloatArray:
        """[E, M]."""
        rows, columns, steps_back, lengths = _latest_positions(prefixes, self.held.shape[1])
        shape = (len(prefixes), self.held.shape[1])
        weights = (lengths - steps_back + 1) / lengths
        similarity = csr_array((weights.astype(np.float32), (rows, columns)), shape=shape) @ self.latest
        # Of powers of two, the largest of a sum says which product was the latest of those shared.
        shared = csr_array((np.exp2(-steps_back.astype(np.float32)), (rows, columns)), shape=shape) @ self.latest
        similarity.sort_indices()
        shared.sort_indices()
        shared.data = 1 + np.floor(np.log2(shared.data)) / 10
        is_neighbour = largest_of_rows(similarity.indptr, similarity.data, _MAX_NEIGHBOURS)
        similarity.data *= shared.data * is_neighbour
        scores: FloatArray = (similarity @ self.held).toarray()
        return scores


def _latest_positions(prefixes: SessionTable, products: int) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """The latest position of each of the last products of sessions: session, product, steps back from 1, and length."""
    recent = only_products(prefixes.take_back(), products).last(_MAX_RECENT)
    session_of = recent.session_of()
    steps_back = np.repeat(recent.offsets[1:], recent.lengths) - np.arange(recent.rows.size)
    order = np.lexsort((steps_back, recent.rows, session_of))
    first = np.ones(order.size, dtype=bool)
    first[1:] = (np.diff(session_of[order]) != 0) | (np.diff(recent.rows[order]) != 0)
    kept = order[first]
    return session_of[kept], recent.rows[kept], steps_back[kept], recent.lengths[session_of[kept]]
