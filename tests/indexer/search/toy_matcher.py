"""Small vectors, the nearest of them the obvious way, and an index that counts what it is asked."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from indexer.index.backend import Neighbours
from indexer.index.selection import Selection
from indexer.index.vector_index import VectorIndex

WIDTH = 16
NOTHING: list[frozenset[int]] = [frozenset()]


def unit(count: int, seed: int) -> np.ndarray:
    """Random vectors of length 1."""
    vectors = np.random.default_rng(seed).standard_normal((count, WIDTH))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def best(vectors: np.ndarray, query: np.ndarray, rows: np.ndarray, k: int) -> list[int]:
    """The slow obvious way."""
    order = np.argsort(-(vectors[rows].astype(np.float64) @ query), kind="stable")
    return rows[order[:k]].tolist()


class CountingIndex(VectorIndex):
    """Notes how many queries and candidates each search is for; counts vectors read, and passes over all of them."""

    def __init__(self, index: VectorIndex) -> None:
        super().__init__(index.backend, index.spec)
        self.searches: list[tuple[int, int]] = []
        self.vectors_read = self.passes = 0

    def search(self, queries: np.ndarray, k: int, allowed: Selection | None = None) -> Neighbours:
        self.searches.append((len(queries), k))
        return super().search(queries, k, allowed)

    def vectors(self, positions: np.ndarray) -> np.ndarray:
        self.vectors_read += len(positions)
        return super().vectors(positions)

    def search_all(self, query: np.ndarray, allowed: Selection | None = None) -> Iterator[Neighbours]:
        self.passes += 1
        return super().search_all(query, allowed)
