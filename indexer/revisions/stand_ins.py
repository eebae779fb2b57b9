"""Products whose counts a new one takes, until it is counted itself: its nearest that were seen.

Letters: N new products, K nearest of each, C candidates, R products of a session.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ubm_embed.counts.propagation import shares_of
from ubm_embed.data.arrays import FloatArray, IntArray, offsets_of, ragged_index

# New products that one query may score by their stand-ins; the candidates that matter most come first.
_MAX_FOLLOWERS = 2_048


@dataclass(frozen=True)
class StandIns:
    """The stand-ins of new products. They never change.

    Attributes:
        positions: of the new products, ascending: [N].
        rows: of the stand-ins in the counts; -1 for none: [N, K].
        cosines: of each product and its stand-ins: [N, K].
    """

    positions: NDArray[np.int64]
    rows: NDArray[np.int64]
    cosines: FloatArray

    @classmethod
    def none(cls) -> Self:
        """Of no products."""
        return cls(np.empty(0, np.int64), np.empty((0, 0), np.int64), np.empty((0, 0), np.float32))

    def __len__(self) -> int:
        """N."""
        return self.positions.size

    @cached_property
    def shares(self) -> FloatArray:
        """What each stand-in counts for, 1 in all for a product: [N, K]."""
        return shares_of(self.rows, self.cosines)

    def find(self, positions: IntArray) -> IntArray:
        """Which of the new products are at these positions, -1 for other products: [R]."""
        if not len(self):
            return np.full(len(positions), -1)
        ranks = np.minimum(np.searchsorted(self.positions, positions), len(self) - 1)
        return np.where(self.positions[ranks] == positions, ranks, -1)

    def followers(self, rows: IntArray, sums: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
        """The new products that take their counts from some rows: positions ascending, and sums, like `candidates`.

        Args:
            rows: ascending: [C].
            sums: [C].
        """
        keys, offsets, numbers, shares = self._by_row
        ranks = np.searchsorted(keys, rows)
        known = keys[np.minimum(ranks, keys.size - 1)] == rows if keys.size else np.zeros(len(rows), bool)
        ranks, sums = ranks[known], sums[known]
        lengths = offsets[ranks + 1] - offsets[ranks]
        if lengths.sum() > _MAX_FOLLOWERS:
            order = np.argsort(-sums, kind="stable")
            order = order[np.cumsum(lengths[order]) <= _MAX_FOLLOWERS]
            ranks, sums, lengths = ranks[order], sums[order], lengths[order]
        entries = ragged_index(offsets[ranks], lengths)
        found, inverse = np.unique(numbers[entries], return_inverse=True)
        totals = np.bincount(inverse, shares[entries] * np.repeat(sums, lengths), found.size)
        return self.positions[found], totals.astype(np.float32)

    @cached_property
    def _by_row(self) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
        """Rows that stand in, where the entries of each begin, and the new products and shares of these."""
        held = self.shares > 0
        rows, numbers = self.rows[held], np.nonzero(held)[0]
        order = np.argsort(rows, kind="stable")
        keys, lengths = np.unique(rows, return_counts=True)
        return keys, offsets_of(lengths), numbers[order], self.shares[held][order]
