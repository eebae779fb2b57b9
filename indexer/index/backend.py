"""What finds candidates for an index, behind one small interface: FAISS in memory, LanceDB on disk.

Letters: B queries, C candidates, M vectors, D width.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import FloatArray, IntArray


class Engine(Protocol):
    """Vectors by position, and a search for what is near. It may miss, and order ties as it likes.

    Attributes:
        dimension: width of the vectors, D.
        widest: the breadth with which a search looks everywhere.
        faithful: whether the scores of candidates are those of the vectors as they are stored, but for the order in
            which they are added up.
    """

    @property
    def dimension(self) -> int: ...
    @property
    def widest(self) -> int: ...
    @property
    def faithful(self) -> bool: ...

    def __len__(self) -> int: ...

    def candidates(
        self, queries: FloatArray, fetch: int, breadth: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[FloatArray, NDArray[np.int64]]:
        """Scores and positions [B, C] of what may be nearest, best first; -1 in the end where there are too few.

        Args:
            queries: [B, D].
            fetch: C.
            breadth: how widely to search, as the kind's parameter has it.
            allowed: which may be found, [M]; None is all of them.
        """
        ...

    def vectors(self, positions: IntArray) -> FloatArray:
        """Vectors at these positions, as they are stored: [K] -> [K, D]."""
        ...


def enough_to_filter(fetch: int, total: int, allowed: NDArray[np.bool_] | None) -> int:
    """How many candidates to ask an engine that knows no filter for, so that likely so many allowed ones are left."""
    share = 1.0 if allowed is None else float(allowed.mean())
    return fetch if allowed is None else min(math.ceil(1.5 * fetch / max(share, 1e-9)), total)


def kept(
    scores: FloatArray, positions: NDArray[np.int64], allowed: NDArray[np.bool_], fetch: int
) -> tuple[FloatArray, NDArray[np.int64]]:
    """The first C of candidates that are allowed, in their order: for an engine that knows no filter."""
    out = (positions < 0) | ~allowed[positions]
    first = np.argsort(out, axis=1, kind="stable")[:, :fetch]
    scores, positions = np.where(out, -np.inf, scores), np.where(out, -1, positions)
    return np.take_along_axis(scores, first, axis=1), np.take_along_axis(positions, first, axis=1)
