"""One pass over all vectors of a version, in memory that does not grow with it.

Letters: B queries, K nearest, M products, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.index.backend import Neighbours
from indexer.refresh.shards import not_unit_length
from ubm_embed.data.arrays import FloatArray, IntArray, finite_rows, offsets_of
from ubm_embed.progress import Progress


@dataclass(frozen=True)
class ScanStatistics:
    """Results of one pass.

    Attributes:
        rows: M.
        not_unit_length: number of vectors that are not finite and of length 1.
        total: the sum of all vectors, [D].
        nearest: the exact K nearest neighbours of each query: [B, K], best first, K = min(k, M).
    """

    rows: int
    not_unit_length: int
    total: NDArray[np.float64]
    nearest: Neighbours

    @property
    def centroid(self) -> FloatArray:
        """The mean vector, [D]."""
        return (self.total / self.rows).astype(np.float32)


def exact_scan(batches: Iterable[FloatArray], queries: FloatArray, k: int) -> ScanStatistics:
    """Read every vector once and search all of them for the queries.

    Args:
        batches: all vectors of a version, at least one: each [N, D].
        queries: [B, D].
    """
    queries = finite_rows(queries)
    rows, bad, total = 0, 0, np.zeros(queries.shape[1])
    best = Neighbours(np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64))
    for vectors in batches:
        invalid = not_unit_length(vectors).size
        bad += invalid
        vectors = finite_rows(vectors) if invalid else vectors  # a NaN would be nearest to everything
        total += vectors.sum(axis=0, dtype=np.float64)
        positions = np.arange(rows, rows + len(vectors))
        best = _best(best, queries @ vectors.T, positions, k)
        rows += len(vectors)
    order = np.argsort(-best.scores, axis=1, kind="stable")
    return ScanStatistics(rows, bad, total, _at_columns(best, order))


def reported(batches: Iterable[FloatArray], what: str, total: int, progress: Progress) -> Iterator[FloatArray]:
    """The batches, each reported once it was used."""
    done = 0
    for vectors in batches:
        yield vectors
        done += len(vectors)
        progress(what, done, total)


def scores_above(floors: FloatArray, scores: FloatArray, positions: IntArray) -> Neighbours:
    """What scores above the floor of its query, and -inf to fill the rows: [B, C], C the most of any query.

    That is next to nothing of a later batch, and to compare all takes a tenth of the time of sorting all.

    Args:
        floors: [B].
        scores: of the queries and a batch: [B, N].
        positions: of the batch: [N].
    """
    found = np.flatnonzero(scores > floors[:, None])
    rows, columns = np.divmod(found, scores.shape[1])
    counts = np.bincount(rows, minlength=len(scores))
    among = np.arange(rows.size) - offsets_of(counts)[rows]
    shape = (len(scores), int(counts.max(initial=0)))
    above = Neighbours(np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int64))
    above.scores[rows, among], above.positions[rows, among] = scores[rows, columns], positions[columns]
    return above


def _best(best: Neighbours, scores: FloatArray, positions: NDArray[np.int64], k: int) -> Neighbours:
    """The best k of those so far and of a batch, in any order."""
    if best.scores.shape[1] == k:
        worst = np.where(np.isnan(best.scores), -np.inf, best.scores).min(axis=1)
        scores, positions = scores_above(worst, scores, positions)
    else:
        positions = np.broadcast_to(positions, (len(scores), positions.size))
    scores = np.concatenate([best.scores, scores], axis=1)
    positions = np.concatenate([best.positions, positions], axis=1)
    if scores.shape[1] <= k:
        return Neighbours(scores, positions)
    return _at_columns(Neighbours(scores, positions), np.argpartition(-scores, k - 1, axis=1)[:, :k])


def _at_columns(neighbours: Neighbours, columns: NDArray[np.int64]) -> Neighbours:
    scores = np.take_along_axis(neighbours.scores, columns, axis=1)
    return Neighbours(scores, np.take_along_axis(neighbours.positions, columns, axis=1))
