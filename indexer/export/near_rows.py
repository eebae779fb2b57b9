"""The nearest of some vectors to each of them, by exact search among themselves.

Letters: K vectors, N neighbours, D width.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import FloatArray
from ubm_embed.progress import Progress, silent

# Cosines of a block of rows with all: 40 MB, and twice that for their order.
_CELLS = 10_000_000


class NearRows(NamedTuple):
    """The neighbours of each row, nearest first, itself left out.

    Attributes:
        rows: [K, N].
        distances: [K, N] cosine distances, 0 to 2.
    """

    rows: NDArray[np.int64]
    distances: FloatArray

    @classmethod
    def find(cls, vectors: FloatArray, count: int, progress: Progress = silent) -> NearRows:
        """Of each of these unit vectors [K, D], the `count` nearest of the others, or all if there are fewer."""
        total, count = len(vectors), min(count, len(vectors) - 1)
        rows, distances = np.empty((total, count), np.int64), np.empty((total, count), np.float32)
        step = max(_CELLS // total, 1)
        for first in range(0, total, step):
            block = slice(first, min(first + step, total))
            cosines = vectors[block] @ vectors.T
            own = np.arange(block.stop - first)
            cosines[own, own + first] = -np.inf
            best = np.argpartition(cosines, total - count - 1, axis=1)[:, total - count :]
            scores = np.take_along_axis(cosines, best, axis=1)
            order = np.lexsort((best, -scores))
            rows[block] = np.take_along_axis(best, order, axis=1)
            distances[block] = (1 - np.take_along_axis(scores, order, axis=1)).clip(0)
            progress("finding neighbours", block.stop, total)
        return cls(rows, distances)
