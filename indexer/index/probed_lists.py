"""The lists of an index that are nearest to a query, found once for several indexes that share their centroids.

Finding them takes a quarter of a search of a million vectors, so vectors that were appended must not do it again.

Letters: B queries, C candidates, P probed lists.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexer.index.backend import Neighbours
from indexer.index.faiss_factory import load_faiss
from ubm_embed.data.arrays import FloatArray


class ProbedLists(NamedTuple):
    """The lists with the nearest centroids, nearest first.

    Attributes:
        scores: of queries and centroids, [B, P].
        lists: [B, P].
    """

    scores: FloatArray
    lists: NDArray[np.int64]


def search_probed(index: Any, queries: FloatArray, count: int, probed: ProbedLists, parameters: Any) -> Neighbours:
    """What a FAISS index of lists finds in these: [B, C]; -1 where there is nothing.

    Args:
        parameters: with an nprobe of P.
    """
    swig_ptr = load_faiss().swig_ptr
    scores = np.empty((len(queries), count), np.float32)
    positions = np.empty((len(queries), count), np.int64)
    inputs = len(queries), swig_ptr(queries), count, swig_ptr(probed.lists), swig_ptr(probed.scores)
    # FAISS's own wrapper for NumPy takes no parameters here, and so no selector.
    index.search_preassigned_c(*inputs, swig_ptr(scores), swig_ptr(positions), False, parameters)
    return Neighbours(scores, positions)
