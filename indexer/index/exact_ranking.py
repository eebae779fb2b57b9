"""Exact scores, and the order that follows from them: the same on every machine and for every kind of index.

Letters: B queries, C candidates, K matches, P positions, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from indexer.index.backend import NOISE, Neighbours
from ubm_embed.data.arrays import FloatArray

# Vectors by their positions: [K] -> [K, D].
Vectors = Callable[[NDArray[np.int64]], FloatArray]

_ROWS_AT_ONCE = 512


def inner_products(vectors: FloatArray, queries: FloatArray) -> FloatArray:
    """[..., D] and [..., D] -> [...]. Not a matrix product: BLAS adds up some rows in another order than others."""
    products: FloatArray = np.vecdot(vectors.astype(np.float64), queries.astype(np.float64)).astype(np.float32)
    return products


def exact_scores(vectors: Vectors, queries: FloatArray, candidates: NDArray[np.int64]) -> FloatArray:
    """Inner products of each query and its own candidates: [B, D] and [B, C] -> [B, C]; -inf for a position -1.

    Only some vectors are in memory at once.
    """
    (rows, columns), missing = candidates.shape, candidates < 0
    positions, scores = np.where(missing, 0, candidates), np.empty((rows, columns), np.float32)
    rows_at_once = max(_ROWS_AT_ONCE // max(columns, 1), 1)
    for row in range(0, rows, rows_at_once):
        for column in range(0, columns, _ROWS_AT_ONCE):
            part = slice(row, row + rows_at_once), slice(column, column + _ROWS_AT_ONCE)
            read = vectors(positions[part].ravel()).reshape(*positions[part].shape, -1)
            scores[part] = inner_products(read, queries[part[0], None])
    scores[missing] = -np.inf
    return scores


def rank(scores: FloatArray, candidates: NDArray[np.int64], k: int) -> Neighbours:
    """The best K candidates of each query, equal ones by position: [B, C] -> [B, K]."""
    best = np.lexsort((candidates, -scores))[:, :k]
    rows = np.arange(len(scores))[:, None]
    return Neighbours(scores[rows, best], candidates[rows, best])


def rank_ties(vectors: Vectors, query: FloatArray, candidates: Neighbours, k: int) -> Neighbours:
    """The best K candidates of one query, of which only those that score nearly as high as another are scored exactly.

    Args:
        query: [1, D].
        candidates: of one query, [1, C], best first by scores that are off by less than the noise.
    """
    count = int((candidates.positions >= 0).sum())
    scores, positions = candidates.scores[:, :count].copy(), candidates.positions[:, :count]
    close = np.diff(scores[0]) >= -NOISE
    tied = np.append(close, False) | np.append(False, close)
    scores[:, tied] = exact_scores(vectors, query, positions[:, tied])
    return rank(scores, positions, k)


def in_exact_order(vectors: Vectors, query: FloatArray, candidates: Neighbours) -> Iterator[Neighbours]:
    """All candidates of one query, best first by their exact scores, some at a time.

    Args:
        query: [1, D].
        candidates: of one query, [1, P], best first by scores that are off by less than the noise.
    """
    kept, count = candidates.part(slice(None), slice(0)), candidates.positions.size
    for first in range(0, count, _ROWS_AT_ONCE):
        positions = candidates.positions[:, first : first + _ROWS_AT_ONCE]
        scores = exact_scores(vectors, query, positions)
        ranked = np.concatenate([kept.scores, scores], axis=1), np.concatenate([kept.positions, positions], axis=1)
        kept = rank(*ranked, count)
        # A candidate waits while one of the rest might score as high.
        end = first + _ROWS_AT_ONCE
        rest = candidates.scores[0, end] + NOISE if end < count else -np.inf
        certain = int((kept.scores[0] > rest).sum())
        if certain:
            yield kept.part(slice(None), slice(certain))
            kept = kept.part(slice(None), slice(certain, None))
