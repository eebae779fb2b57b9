"""What a search wants, what an engine found for it at one look, and what comes of that.

Letters: B queries, C candidates, K matches, M products, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import sub
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import FloatArray

# How far two ways of adding up one inner product of unit vectors may lie apart in float32.
NOISE = 2e-6


class Neighbours(NamedTuple):
    """The nearest vectors of each query, best first.

    Attributes:
        scores: [B, K] inner products.
        positions: [B, K] rows of the vectors that the index was built from.
    """

    scores: FloatArray
    positions: NDArray[np.int64]

    def at(self, rows: slice, columns: slice = slice(None)) -> Neighbours:
        """Those of some of the queries, and the best of them."""
        return Neighbours(self.scores[rows, columns], self.positions[rows, columns])

    def put(self, rows: NDArray[Any], others: Neighbours) -> None:
        """Take over what was found for these queries."""
        self.scores[rows], self.positions[rows] = others


@dataclass(slots=True)
class Scope:
    """What is wanted: K of those that are allowed, of which so many are there."""

    k: int
    there: int
    allowed: NDArray[np.bool_] | None


@dataclass(slots=True)
class Look:
    """What an engine found, best first.

    Attributes:
        scores: [B, C].
        positions: [B, C]; -1 for none.
        complete: whether that is all that there is.
        widest: whether the engine looked everywhere.
    """

    scores: FloatArray
    positions: NDArray[np.int64]
    complete: bool
    widest: bool

    def of(self, rows: NDArray[Any]) -> Look:
        """Of some of the queries."""
        return Look(self.scores[rows], self.positions[rows], self.complete, self.widest)

    def is_certain(self, k: int) -> bool:
        """Of a single query: whether the first K are its nearest in their order, whoever adds up the scores.

        A fast index answers in the time that numpy takes for a few steps: here are none.
        """
        scores = self.scores[0, : k + 1].tolist()
        return self.positions.item(-1) >= 0 and min(map(sub, scores, scores[1:]), default=1.0) > NOISE

    def has_enough(self, k: int) -> NDArray[np.bool_]:
        """Which queries have K: [B]."""
        return self.positions[:, k - 1] >= 0

    def is_settled(self, k: int) -> NDArray[np.bool_]:
        """Which queries have K, and none that ties with the K-th was left out: [B]."""
        clear = self.scores[:, -1] < self.scores[:, k - 1] - NOISE
        return self.has_enough(k) & (clear | self.complete)
