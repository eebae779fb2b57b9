"""The time that a searcher takes for a query that comes alone, and for one in a batch."""

from __future__ import annotations

import time

from benchmarks.retrieval.searchers import Searcher
from ubm_embed.data.arrays import FloatArray

SINGLE_QUERIES, BATCH_SIZE = 200, 256
_SECONDS = 2.0


def single_ms(searcher: Searcher, queries: FloatArray, k: int, limit: int = SINGLE_QUERIES) -> list[float]:
    """Milliseconds of queries that come alone: up to `limit` of them, for two seconds."""
    times: list[float] = []
    _warm_up(searcher, queries, k)
    end = time.perf_counter() + _SECONDS
    for query in queries[:limit]:
        times.append(_ms(searcher, query[None], k))
        if time.perf_counter() > end:
            break
    return times


def pairs_ms(
    first: Searcher, second: Searcher, queries: FloatArray, k: int, limit: int = SINGLE_QUERIES
) -> tuple[list[float], list[float]]:
    """As `single_ms` for two searchers that take turns, query by query, since they differ only a little."""
    times: tuple[list[float], list[float]] = ([], [])
    _warm_up(first, queries, k)
    end = time.perf_counter() + 2 * _SECONDS
    for number, query in enumerate(queries[:limit]):
        # The second searcher would find the vectors in the CPU's caches, so they take turns in going first, each with
        # its own query.
        pair = [(first, times[0], query), (second, times[1], queries[-1 - number])]
        for searcher, measured, own_query in pair if number % 2 else reversed(pair):
            measured.append(_ms(searcher, own_query[None], k))
        if time.perf_counter() > end:
            break
    return times


def batch_ms(searcher: Searcher, queries: FloatArray, k: int, size: int = BATCH_SIZE) -> float:
    """Milliseconds for each query of one batch."""
    batch = queries[:size]
    started = time.perf_counter()
    searcher.search(batch, k)
    return (time.perf_counter() - started) * 1000 / len(batch)


def _warm_up(searcher: Searcher, queries: FloatArray, k: int) -> None:
    for query in queries[-5:]:
        searcher.search(query[None], k)


def _ms(searcher: Searcher, query: FloatArray, k: int) -> float:
    started = time.perf_counter()
    searcher.search(query, k)
    return (time.perf_counter() - started) * 1000
