"""The products from which one without counts of its own takes them: the nearest that were seen.

Letters: K products, N nearest, M products of a version, D width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from indexer.index.selection import Selection
from indexer.index.vector_index import VectorIndex
from ubm_embed.counts.propagation import NEAREST
from ubm_embed.data.arrays import FloatArray

# Queries of one search.
_BATCH = 1024


def nearest_known(index: VectorIndex, vectors: FloatArray, known: Selection) -> tuple[NDArray[np.int64], FloatArray]:
    """The nearest products with counts of their own for each vector: positions and cosines, [K, N] each.

    N is `NEAREST`, or less if fewer are known.

    Args:
        vectors: [K, D], of length 1.
        known: which of the M products were seen.
    """
    found = [index.search(vectors[at : at + _BATCH], NEAREST, known) for at in range(0, len(vectors), _BATCH)]
    if not found or not known.count:
        width = min(NEAREST, known.count)
        return np.empty((len(vectors), width), np.int64), np.empty((len(vectors), width), np.float32)
    return np.concatenate([part.positions for part in found]), np.concatenate([part.scores for part in found])
