"""The plane in which vectors vary most: their first two principal components.

Letters: K vectors, D width.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import FloatArray


class PrincipalPlane(NamedTuple):
    """A plane through the centre of some vectors.

    Attributes:
        centre: [D].
        axes: [D, 2], of length 1; each component of the largest size is positive, so that a map never comes mirrored.
        explained: its share of the variance of those vectors; 0 if they do not vary.
    """

    centre: FloatArray
    axes: FloatArray
    explained: float

    @classmethod
    def fit(cls, vectors: FloatArray) -> Self:
        """The plane of these: [K, D]."""
        centre: NDArray[np.float64] = vectors.mean(axis=0, dtype=np.float64)
        # Of the second moments, which take no copy of the vectors.
        covariance = (vectors.T @ vectors).astype(np.float64) / len(vectors) - np.outer(centre, centre)
        values, axes = np.linalg.eigh(covariance)
        first = axes[:, :-3:-1]
        signs = np.sign(first[np.abs(first).argmax(axis=0), [0, 1]])
        total = values.clip(0).sum()
        explained = float(values[-2:].clip(0).sum() / total) if total > 0 else 0.0
        return cls(centre.astype(np.float32), (first * signs).astype(np.float32), explained)

    def project(self, vectors: FloatArray) -> FloatArray:
        """Where vectors stand in it: [K, D] -> [K, 2]."""
        return ((vectors - self.centre) @ self.axes).astype(np.float32, copy=False)
