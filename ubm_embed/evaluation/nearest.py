"""The nearest of some vectors to each of them, by exact search among themselves.

Letters: N vectors, K neighbours, D width.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import FloatArray
from ubm_embed.progress import Progress, silent

# Cosines of a block of rows with all: 40 MB, and twice that for their order.
_CELLS = 10_000_000


class NearestOthers(NamedTuple):
    """The neighbours of each row, nearest first, itself left out.

    Attributes:
        rows: [N, K].
        cosines: [N, K].
    """

    rows: NDArray[np.int64]
    cosines: FloatArray

    @classmethod
    def find(cls, vectors: FloatArray, k: int, progress: Progress = silent) -> Self:
        """Of each of these unit vectors [N, D], the K nearest of the others, or all if there are fewer.

        Of equal ones the first come first.
        """
        total, k = len(vectors), min(k, len(vectors) - 1)
        rows, cosines = np.empty((total, k), np.int64), np.empty((total, k), np.float32)
        step = max(_CELLS // total, 1)
        for first in range(0, total, step):
            block = slice(first, min(first + step, total))
            scores = vectors[block] @ vectors.T
            own = np.arange(block.stop - first)
            scores[own, own + first] = -np.inf
            best = np.argpartition(scores, total - k - 1, axis=1)[:, total - k :]
            of_best = np.take_along_axis(scores, best, axis=1)
            order = np.lexsort((best, -of_best))
            rows[block] = np.take_along_axis(best, order, axis=1)
            cosines[block] = np.take_along_axis(of_best, order, axis=1)
            progress("finding neighbours", block.stop, total)
        return cls(rows, cosines)
