"""Hubs: vectors that are among the nearest neighbours of many others, while others are near to none.

Letters: N vectors, K neighbours, D width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import FloatArray, IntArray

# Rows of the matrix of cosines in memory at once.
_ROWS = 512


def nearest_others(vectors: FloatArray, k: int) -> NDArray[np.int64]:
    """The K nearest of each vector among the others by inner product, in no order: [N, D] -> [N, K], K < N."""
    nearest = np.empty((len(vectors), k), np.int64)
    for first in range(0, len(vectors), _ROWS):
        cosines = vectors[first : first + _ROWS] @ vectors.T
        rows = np.arange(len(cosines))
        cosines[rows, first + rows] = -np.inf
        nearest[first : first + _ROWS] = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
    return nearest


def k_occurrence(neighbours: IntArray, size: int) -> NDArray[np.int64]:
    """In how many lists of neighbours each vector is, N_k (Radovanovic et al. 2010, section 2): [..., K] -> [size]."""
    return np.bincount(neighbours.ravel(), minlength=size)


def skewness(counts: IntArray) -> float:
    """The third standardised moment, E(N_k - mean)^3 / std^3 (Radovanovic et al. 2010, equation 1): [N].

    Above 0 some vectors are hubs. 0 if all counts are equal.
    """
    centred = counts - counts.mean()
    spread = float(np.sqrt(np.square(centred).mean()))
    return float((centred**3).mean()) / spread**3 if spread else 0.0
