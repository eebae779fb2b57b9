"""Count, sum and second moments of vectors that arrive in batches: what ranks and mean cosines are computed from.

Letters: N vectors, D width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import FloatArray


class Moments:
    """Sums over all vectors added so far, in float64.

    Sums of float32 products are off by 1e-7 of the largest, and the root of that, 3e-4 in each of 256 directions, would
    look like rank in a space that has none.

    Attributes:
        count: N.
        total: the sum of the vectors, [D].
        products: X'X, the sum of their outer products, [D, D].
    """

    def __init__(self, dimension: int) -> None:
        self.count = 0
        self.total: NDArray[np.float64] = np.zeros(dimension)
        self.products: NDArray[np.float64] = np.zeros((dimension, dimension))

    def add(self, vectors: FloatArray) -> None:
        """Count some more: [N, D]."""
        exact = vectors.astype(np.float64)
        self.count += len(exact)
        self.total += exact.sum(axis=0)
        self.products += exact.T @ exact

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Of the population, divided by N: [D, D]."""
        mean = self.total / self.count
        return self.products / self.count - np.outer(mean, mean)

    @property
    def mean_cosine(self) -> float:
        """The mean cosine over all pairs of different vectors of length 1; exact, N >= 2.

        The squared length of the sum counts each pair twice and each vector with itself once.
        """
        own = float(np.trace(self.products))
        return float((self.total @ self.total - own) / (self.count * (self.count - 1)))
