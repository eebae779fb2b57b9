"""One pass over a version's vectors: what its checks and gates need to know, in memory that does not grow with it.

Letters: B queries, K nearest, M products, D width.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from indexer.index.vector_index import Neighbours
from indexer.refresh.encoding import unsound
from indexer.store.product_table import VectorBatch
from ubm_embed.data.arrays import FloatArray


@dataclass(frozen=True)
class Survey:
    """What one pass found.

    Attributes:
        rows: M.
        unsound: vectors that are not finite and of length 1.
        centroid: the mean vector, [D].
        nearest: the exact K nearest of each query: [B, K], best first, K = min(k, M).
    """

    rows: int
    unsound: int
    centroid: FloatArray
    nearest: Neighbours


def survey(batches: Iterable[VectorBatch], queries: FloatArray, k: int) -> Survey:
    """Look at every vector once.

    Args:
        batches: all vectors of a version, at least one.
        queries: [B, D].
    """
    rows, bad, total = 0, 0, np.zeros(queries.shape[1])
    best = Neighbours(np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64))
    for _, vectors in batches:
        bad += unsound(vectors).size
        total += vectors.sum(axis=0, dtype=np.float64)
        positions = np.arange(rows, rows + len(vectors))
        best = _best(best, queries @ vectors.T, positions, k)
        rows += len(vectors)
    order = np.argsort(-best.scores, axis=1, kind="stable")
    nearest = _at(best, order)
    return Survey(rows, bad, (total / rows).astype(np.float32), nearest)


def _best(best: Neighbours, scores: FloatArray, positions: np.ndarray, k: int) -> Neighbours:
    """The best k of those known and these, in any order."""
    scores = np.concatenate([best.scores, scores], axis=1)
    positions = np.concatenate([best.positions, np.broadcast_to(positions, (len(scores), positions.size))], axis=1)
    if scores.shape[1] <= k:
        return Neighbours(scores, positions)
    kept = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    return _at(Neighbours(scores, positions), kept)


def _at(found: Neighbours, columns: np.ndarray) -> Neighbours:
    scores = np.take_along_axis(found.scores, columns, axis=1)
    return Neighbours(scores, np.take_along_axis(found.positions, columns, axis=1))
