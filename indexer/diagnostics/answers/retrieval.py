"""The answers of sessions, without what they hold already, and the exact nearest of all queries in one pass.

Letters: B queries, K products of an answer, M products, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from indexer.diagnostics.space import Space
from indexer.index.backend import Neighbours
from indexer.refresh.exact_scan import ScanStatistics, exact_scan, reported
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.progress import Progress

ANSWERS = 10
# Fetched counts are rounded up to these, so that few searches serve all sessions.
_STEP = 8

# The nearest of queries: [B, D] and K -> [B, K].
Search = Callable[[FloatArray, int], Neighbours]


def scan(space: Space, queries: FloatArray, k: int, progress: Progress) -> ScanStatistics:
    """The exact K nearest of all queries, and the mean of all vectors."""
    return exact_scan(reported(space.batches(), "searching all products", len(space), progress), queries, k)


def visible_answers(search: Search, queries: FloatArray, held: Sequence[IntArray]) -> IntArray:
    """The nearest of each query without what its session holds: [B, K], -1 where there are no more.

    Args:
        held: the rows that each session holds: B times [N].
    """
    answers = np.full((len(queries), ANSWERS), -1, dtype=np.int64)
    fetched = np.array([ANSWERS + -(-rows.size // _STEP) * _STEP for rows in held], dtype=np.int64)
    for count in np.unique(fetched).tolist():
        group = np.flatnonzero(fetched == count)
        found = search(queries[group], count).positions
        for index, positions in zip(group.tolist(), found, strict=True):
            left = positions[~np.isin(positions, held[index]) & (positions >= 0)][:ANSWERS]
            answers[index, : left.size] = left
    return answers


def popular_answers(popular: IntArray, held: Sequence[IntArray]) -> IntArray:
    """The most popular products that each session does not hold: [B, K], -1 where there are no more.

    Args:
        popular: rows, the most popular first, enough for a session that holds many of them.
    """
    answers = np.full((len(held), ANSWERS), -1, dtype=np.int64)
    for index, rows in enumerate(held):
        left = popular[~np.isin(popular, rows)][:ANSWERS]
        answers[index, : left.size] = left
    return answers


def ranks_in(answers: IntArray, targets: IntArray) -> IntArray:
    """The rank of each target in its answer, 1 for the first; a number beyond any cutoff where it is missing: [B]."""
    matches = answers == targets[:, None]
    ranks: IntArray = np.where(matches.any(axis=1), matches.argmax(axis=1) + 1, np.iinfo(np.int32).max)
    return ranks
