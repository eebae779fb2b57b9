"""How long a searcher takes for a query that comes alone and for one in a batch."""

from __future__ import annotations

import time

from benchmarks.retrieval.searchers import Searcher
from ubm_embed.data.arrays import FloatArray

_SINGLE, _BATCH = 200, 256
_SECONDS = 2.0


def single_ms(searcher: Searcher, queries: FloatArray, k: int) -> list[float]:
    """Milliseconds of queries that come alone, as many as there is time for."""
    took: list[float] = []
    _warm(searcher, queries, k)
    until = time.perf_counter() + _SECONDS
    for query in queries[:_SINGLE]:
        took.append(_ms(searcher, query[None], k))
        if time.perf_counter() > until:
            break
    return took


def pairs_ms(one: Searcher, other: Searcher, queries: FloatArray, k: int) -> tuple[list[float], list[float]]:
    """As `single_ms`, of two that take turns at each query: what they differ by is small."""
    took: tuple[list[float], list[float]] = ([], [])
    _warm(one, queries, k)
    until = time.perf_counter() + 2 * _SECONDS
    for number, query in enumerate(queries[:_SINGLE]):
        # The second to look finds its vectors in the caches, so each is the second as often. Each asks another query.
        pair = [(one, took[0], query), (other, took[1], queries[-1 - number])]
        for searcher, times, asked in pair if number % 2 else reversed(pair):
            times.append(_ms(searcher, asked[None], k))
        if time.perf_counter() > until:
            break
    return took


def batch_ms(searcher: Searcher, queries: FloatArray, k: int) -> float:
    """Milliseconds of a query in a batch."""
    started = time.perf_counter()
    searcher.search(queries[:_BATCH], k)
    return (time.perf_counter() - started) * 1000 / len(queries[:_BATCH])


def _warm(searcher: Searcher, queries: FloatArray, k: int) -> None:
    for query in queries[-5:]:
        searcher.search(query[None], k)


def _ms(searcher: Searcher, query: FloatArray, k: int) -> float:
    started = time.perf_counter()
    searcher.search(query, k)
    return (time.perf_counter() - started) * 1000
