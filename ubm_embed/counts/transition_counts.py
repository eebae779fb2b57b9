"""Which products came after which in sessions, as a sparse table that a query reads.

Letters: M products, E entries, R products of a session, K candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import FloatArray, IntArray

# Of an entry among those of one session, in the numbers that are sorted: below the 32 of a position.
_ORDER_BITS = 31
_NO_NEIGHBOURS = np.empty(0, np.int32)


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
        starts, stops = self.offsets[recent], self.offsets[np.asarray(recent) + 1]
        rows = [slice(*row) for row in zip(starts.tolist(), stops.tolist(), strict=True)]
        neighbours = np.concatenate([_NO_NEIGHBOURS, *(self.neighbours[row] for row in rows)])
        if not neighbours.size:
            return neighbours.astype(np.int64), np.zeros(0, np.float32)
        parts = np.concatenate([self.values[row] for row in rows]).astype(np.float32)
        parts *= np.repeat(weights.astype(np.float32), stops - starts)
        # Numbers that hold the order are sorted in a third of the time that a stable order takes.
        keys = np.sort((neighbours.astype(np.int64) << _ORDER_BITS) | np.arange(neighbours.size))
        positions, order = keys >> _ORDER_BITS, keys & ((1 << _ORDER_BITS) - 1)
        is_first = np.ones(neighbours.size, dtype=bool)
        np.not_equal(positions[1:], positions[:-1], out=is_first[1:])
        firsts = np.flatnonzero(is_first)
        return positions[firsts], np.add.reduceat(parts[order], firsts)

    def between(self, earlier: IntArray, later: int) -> FloatArray:
        """[R] what each of the earlier products [R] adds for one later product, 0 where they have no entry."""
        values = np.zeros(len(earlier), dtype=np.float32)
        for index, product in enumerate(earlier):
            start, stop = self.offsets[product], self.offsets[product + 1]
            entry = start + np.searchsorted(self.neighbours[start:stop], later)
            if entry < stop and self.neighbours[entry] == later:
                values[index] = self.values[entry]
        return values
