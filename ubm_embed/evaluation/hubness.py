"""Hubs: vectors that are among the nearest neighbours of many others, while others are near to none.

Letters: N vectors, K neighbours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import IntArray


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
