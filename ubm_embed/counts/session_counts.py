"""Counts for many sessions at once, as sparse matrices; a query adds up one session by `TransitionCounts.candidates`.

Letters: E sessions, M products.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ubm_embed.counts.counting import TransitionCounter, only_products, to_sparse
from ubm_embed.counts.ranking_weights import CountWeights, seen_bins
from ubm_embed.counts.transition_counts import TransitionCounts
from ubm_embed.data.batches.session_table import SessionTable


@dataclass(frozen=True)
class SessionCounts:
    """Transition counts, how often each product was seen, and what they weigh.

    Attributes:
        seen: [M] bins of `seen_bins`.
    """

    transitions: TransitionCounts
    seen: NDArray[np.uint8]
    weights: CountWeights

    @classmethod
    def fit(cls, sessions: SessionTable, products: int, weights: CountWeights | None = None) -> SessionCounts:
        """Count the transitions of training sessions, with the default weights where none are given."""
        weights = weights or CountWeights()
        counter = TransitionCounter(products, weights).add(sessions)
        return cls(counter.finish(), seen_bins(counter.seen), weights)

    @cached_property
    def matrix(self) -> csr_array:
        """[M, M] the transitions."""
        return to_sparse(self.transitions)

    def sums(self, prefixes: SessionTable) -> csr_array:
        """[E, M] the weighted counts of the last products of each session."""
        return recency_matrix(prefixes, self.transitions.products, self.weights) @ self.matrix

    def bonus(self, prefixes: SessionTable) -> csr_array:
        """[E, M] what is added to the cosines."""
        sums = self.sums(prefixes)
        return csr_array(
            (self.weights.bonus(sums.data, self.seen[sums.indices]), sums.indices, sums.indptr), sums.shape
        )


def recency_matrix(prefixes: SessionTable, products: int, weights: CountWeights) -> csr_array:
    """[E, M] the weight of each session's last products; of one that stands there twice, the sum."""
    recent = only_products(prefixes.take_back(), products).last(weights.max_recent)
    steps_back = np.repeat(recent.offsets[1:], recent.lengths) - 1 - np.arange(recent.rows.size)
    values = np.float32(weights.decay) ** steps_back.astype(np.float32)
    return csr_array((values, (recent.session_of(), recent.rows)), shape=(len(recent), products))
