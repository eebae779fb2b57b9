"""Random unit vectors, the slow obvious search, and a backend that counts its work."""

from __future__ import annotations

import numpy as np

from indexer.index.backend import IndexBackend, Neighbours
from indexer.index.selection import Selection
from indexer.index.vector_index import VectorIndex

EPS = float(np.finfo(np.float32).eps)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def unit_vectors(count: int, width: int = 16, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((count, width)))


def exact_neighbours(vectors: np.ndarray, queries: np.ndarray, k: int) -> Neighbours:
    """The nearest by a plain matrix product, best first."""
    scores = queries @ vectors.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return Neighbours(np.take_along_axis(scores, order, axis=1), order)


class CountingBackend:
    """A backend that notes every search and counts the vectors that are read from it.

    Attributes:
        searches: queries, candidates and search value of each search.
        vectors_read: how many, one that is read twice counted twice.
    """

    def __init__(self, backend: IndexBackend) -> None:
        self._backend = backend
        self.dimension = backend.dimension
        self.max_search_value = backend.max_search_value
        self.exact_scores = backend.exact_scores
        self.searches: list[tuple[int, int, int]] = []
        self.vectors_read = 0

    def __len__(self) -> int:
        return len(self._backend)

    def search(self, queries: np.ndarray, count: int, search_value: int, allowed: Selection | None) -> Neighbours:
        self.searches.append((len(queries), count, search_value))
        return self._backend.search(queries, count, search_value, allowed)

    def search_all(self, query: np.ndarray, allowed: Selection | None) -> Neighbours | None:
        self.searches.append((1, len(self) if allowed is None else allowed.count, self.max_search_value))
        return self._backend.search_all(query, allowed)

    def vectors(self, positions: np.ndarray) -> np.ndarray:
        self.vectors_read += len(positions)
        return self._backend.vectors(positions)


def counted(index: VectorIndex) -> tuple[VectorIndex, CountingBackend]:
    """The same index, and what counts its work."""
    backend = CountingBackend(index.backend)
    return VectorIndex(backend, index.spec), backend
