"""Which products came after which in sessions, as a sparse table that a query reads.

Letters: M products, E entries, R products of a session, K candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import FloatArray, IntArray, ragged_index


@dataclass(frozen=True)
class TransitionCounts:
    """Softened counts of what came after each of M products; a row holds only the largest. The arrays may be mapped.

    Attributes:
        offsets: [M + 1] int64; the entries of product a are `[offsets[a]:offsets[a + 1]]` of the other two.
        neighbours: [E] int32, the products that came after it, ascending within a row.
        values: [E] float16 or float32, above 0.
    """

    offsets: NDArray[np.int64]
    neighbours: NDArray[np.int32]
    values: NDArray[np.floating[Any]]

    @property
    def products(self) -> int:
        """M."""
        return self.offsets.size - 1

    def candidates(self, recent: IntArray, weights: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
        """The weighted sum of the rows of some products, without its zeros: positions [K] ascending, and sums [K].

        Args:
            recent: [R] products of one session; one that stands there twice counts twice.
            weights: [R].
        """
        starts = self.offsets[recent]
        lengths = self.offsets[np.asarray(recent) + 1] - starts
        entries = ragged_index(starts, lengths)
        neighbours = self.neighbours[entries]
        parts = self.values[entries].astype(np.float32) * np.repeat(weights.astype(np.float32), lengths)
        order = np.argsort(neighbours, kind="stable")
        neighbours = neighbours[order]
        is_first = np.ones(neighbours.size, dtype=bool)
        is_first[1:] = neighbours[1:] != neighbours[:-1]
        firsts = np.flatnonzero(is_first)
        if not firsts.size:
            return firsts, np.zeros(0, np.float32)
        return neighbours[firsts].astype(np.int64), np.add.reduceat(parts[order], firsts)

    def between(self, earlier: IntArray, later: int) -> FloatArray:
        """[R] what each of the earlier products [R] adds for one later product, 0 where they have no entry."""
        values = np.zeros(len(earlier), dtype=np.float32)
        for index, product in enumerate(earlier):
            start, stop = self.offsets[product], self.offsets[product + 1]
            entry = start + np.searchsorted(self.neighbours[start:stop], later)
            if entry < stop and self.neighbours[entry] == later:
                values[index] = self.values[entry]
        return values
