"""Counts for products that were hardly seen: those of their nearest known texts.

Letters: M products, K nearest known products.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from ubm_embed.counts.counting import NEIGHBOURS, from_sparse, largest_of_rows, to_sparse
from ubm_embed.counts.transition_counts import TransitionCounts
from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray


def spread_to_new(
    counts: TransitionCounts,
    nearest: IntArray,
    cosines: FloatArray,
    is_known: BoolArray,
    *,
    neighbours: int = NEIGHBOURS,
) -> TransitionCounts:
    """The counts with rows and columns for new products, A C A^T: a weighted mean of those of the nearest known ones.

    Args:
        nearest: [M - known, K] for each new product, ascending, its nearest known products; below 0 for none.
        cosines: [M - known, K] of their vectors.
        is_known: [M] whether a product keeps its own row and column.
        neighbours: entries that a row keeps.
    """
    lifted = _assignment(nearest, cosines, is_known)
    rows = lifted @ to_sparse(counts)
    spread = csr_array(rows @ lifted.T)
    spread.setdiag(0)
    spread.eliminate_zeros()
    return from_sparse(largest_of_rows(spread, neighbours))


def _assignment(nearest: IntArray, cosines: FloatArray, is_known: BoolArray) -> csr_array:
    """A, [M, M]: 1 on the diagonal for a known product, weights of the nearest known ones, 1 in all, for others."""
    known, new = np.flatnonzero(is_known), np.flatnonzero(~is_known)
    weights = np.where(nearest >= 0, np.maximum(cosines, 0), 0).astype(np.float32)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), np.float32(1e-12))
    held = weights > 0
    rows = np.concatenate([known, np.repeat(new, held.sum(axis=1))])
    columns = np.concatenate([known, nearest[held]])
    values = np.concatenate([np.ones(known.size, np.float32), weights[held]])
    return csr_array((values, (rows, columns)), shape=(is_known.size, is_known.size))
