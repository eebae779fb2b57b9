"""Alignment and uniformity of unit vectors (paper 4.6, after Wang and Isola 2020). Lower is better for both.

Letters: N vectors, D width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import FloatArray, unit_rows


def alignment(x: FloatArray, y: FloatArray) -> float:
    """E |f(x) - f(x+)|^2 over positive pairs: two [N, D], normalised here -> 0 to 4."""
    return float(np.square(_normalized(x) - _normalized(y)).sum(axis=1).mean())


def uniformity(x: FloatArray) -> float:
    """log E exp(-2 |f(x) - f(z)|^2) over pairs of rows: [N, D], N >= 2, normalised here -> -8 to 0."""
    unit = _normalized(x)
    cosines = (unit @ unit.T)[np.triu_indices(len(unit), k=1)]
    return float(np.log(np.exp(4 * (cosines - 1)).mean()))  # |a - b|^2 is 2 - 2 a.b of unit vectors


def _normalized(vectors: FloatArray) -> NDArray[np.float64]:
    """Rows of length 1, in float64: of equal rows the difference of 1 and their cosine is nothing but rounding."""
    return unit_rows(vectors.astype(np.float64))
