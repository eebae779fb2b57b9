"""Sources of candidates besides the vectors: each names products for a session, and what it adds to their scores.

A match's score is its cosine with the session plus the bonuses of all sources. What none of them names has a bonus of
0, so that the nearest vectors and the products that are named hold the best ones, exactly.

Letters: N products named.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from indexer.search.resolution import Step
from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray

# Products with a bonus that are scored for one query, those with the largest ones. Each costs a vector that is read.
MAX_NAMED = 256


@dataclass(frozen=True, slots=True)
class Bonuses:
    """What is added to the scores of some products: N of them.

    Attributes:
        positions: ascending, each once: [N].
        values: above 0, float32: [N].
    """

    positions: IntArray
    values: FloatArray

    def __len__(self) -> int:
        """N."""
        return self.positions.size

    def where(self, mask: BoolArray) -> Bonuses:
        """Those that a mask [N] selects."""
        return Bonuses(self.positions[mask], self.values[mask])

    def without(self, positions: Collection[int]) -> Bonuses:
        """Those of other products than these few."""
        if not positions or not len(self):
            return self
        others = np.fromiter(positions, np.int64, len(positions))
        ranks = np.minimum(np.searchsorted(self.positions, others), len(self) - 1)
        named = ranks[self.positions[ranks] == others]
        if not named.size:
            return self
        mask = np.ones(len(self), bool)
        mask[named] = False
        return self.where(mask)

    def at(self, positions: IntArray) -> FloatArray:
        """The bonuses of some products, 0 for those that are not named: [K] -> [K]."""
        if not len(self) or not len(positions):
            return np.zeros(len(positions), np.float32)
        ranks = np.minimum(np.searchsorted(self.positions, positions), len(self) - 1)
        return np.where(self.positions[ranks] == positions, self.values[ranks], np.float32(0))

    def names(self, positions: IntArray) -> BoolArray:
        """Which of some products are named: [K] -> [K]."""
        return self.at(positions) > 0

    def largest(self, count: int) -> Bonuses:
        """The largest ones, at most `count`; of equal ones those of the lowest positions."""
        if len(self) <= count:
            return self
        if not count:
            return NO_BONUSES
        least = np.partition(self.values, len(self) - count)[len(self) - count]
        mask = self.values >= least
        if (too_many := np.count_nonzero(mask) - count) > 0:
            mask[np.flatnonzero(self.values == least)[-too_many:]] = False
        return self.where(mask)


NO_BONUSES = Bonuses(np.empty(0, np.int64), np.empty(0, np.float32))


class CandidateSource(Protocol):
    """Something that knows, besides the vectors, which products fit. Several threads may ask at once."""

    def bonuses(self, steps: Sequence[Step]) -> Bonuses:
        """The products that a session's steps call for, some thousands at most.

        Rules need not be regarded: products that may not match are left out later, before the largest are taken.

        Args:
            steps: of a session that has been read, or the one product that is looked up.
        """


def sum_of(parts: Sequence[Bonuses]) -> Bonuses:
    """The bonuses of several sources together."""
    named = [one for one in parts if len(one)]
    if len(named) <= 1:
        return named[0] if named else NO_BONUSES
    positions, rows = np.unique(np.concatenate([one.positions for one in named]), return_inverse=True)
    values = np.bincount(rows, np.concatenate([one.values for one in named]), len(positions))
    return Bonuses(positions, values.astype(np.float32))
