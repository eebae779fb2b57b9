"""A model as it answers: its cosines, and what counts of the training part add to them.

Letters: E examples, M products, K new products, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ubm_embed.counts.propagation import NEAREST, spread_to_new
from ubm_embed.counts.ranking_weights import CountWeights
from ubm_embed.counts.session_counts import SessionCounts
from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.evaluation.next_item import SessionModel

# Cosines of a block of new products with the known ones: 40 MB.
_CELLS = 10_000_000


@dataclass(frozen=True)
class CountedModel:
    """The sum of cosines and counts as a scorer."""

    model: SessionModel
    counts: SessionCounts

    @classmethod
    def fit(cls, model: SessionModel, training: SessionTable, weights: CountWeights) -> Self:
        """Count the transitions of training sessions; products that they lack take those of their nearest."""
        counts = SessionCounts.fit(training, len(model.vectors), weights)
        is_known = counts.seen > 0
        if is_known.any() and not is_known.all():
            nearest, cosines = _nearest_known(model.vectors, is_known)
            counts = replace(counts, transitions=spread_to_new(counts.transitions, nearest, cosines, is_known))
        return cls(model, counts)

    def scores(self, prefixes: SessionTable) -> FloatArray:
        """[E, M]."""
        bonus = self.counts.bonus(prefixes).tocoo()
        scores = self.model.scores(prefixes)
        scores[bonus.row, bonus.col] += bonus.data
        return scores


def _nearest_known(vectors: FloatArray, is_known: NDArray[np.bool_]) -> tuple[NDArray[np.int64], FloatArray]:
    """The nearest known products of each new one: [K, NEAREST] of M, and their cosines."""
    known, new = np.flatnonzero(is_known), np.flatnonzero(~is_known)
    count, step = min(NEAREST, known.size), max(1, _CELLS // known.size)
    parts = []
    for first in range(0, new.size, step):
        cosines = vectors[new[first : first + step]] @ vectors[known].T
        best = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        parts.append((known[best], np.take_along_axis(cosines, best, axis=1)))
    nearest, cosines = (np.concatenate(part) for part in zip(*parts, strict=True))
    return nearest, cosines
