"""Vectors that were appended to an index after it was built: stored as it stores its own, and searched beside it.

Letters: B queries, C candidates, M vectors of the index, N appended ones, K positions, D width.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from indexer.index.backend import IndexBackend, Neighbours
from indexer.index.faiss_backend import FaissBackend
from indexer.index.faiss_factory import empty_flat, empty_like, layers_of, load_faiss
from indexer.index.kinds import NPROBE
from indexer.index.search_parameters import search_parameters
from indexer.index.selection import Selection
from ubm_embed.data.arrays import FloatArray, IntArray

# Every extension copies the vectors appended last, up to these, and those before them only when there are more.
_MAX_TAIL = 1024


class _Index(Protocol):
    @property
    def backend(self) -> IndexBackend: ...


class _Part(NamedTuple):
    """Some of the appended vectors.

    Attributes:
        codes: the vectors as FAISS encodes them, in lists with the number of the list before each: [N, bytes].
        index: FAISS's, with their positions as ids.
    """

    codes: NDArray[np.uint8]
    index: Any


class AppendedVectors:
    """Vectors at the positions M, M + 1, ... after those of an index.

    They never change, so threads may search them while others extend them: that makes a new object, which shares what
    was there before.
    """

    def __init__(self, storage: _Storage, parts: tuple[_Part, ...] = ()) -> None:
        self._storage, self._parts = storage, parts
        self.indexes = [part.index for part in parts]

    @classmethod
    def empty(cls, index: _Index) -> Self:
        """None yet.

        Args:
            index: a `VectorIndex` as it was built.
        """
        return cls(_Storage(index.backend))

    def extended(self, vectors: FloatArray) -> AppendedVectors:
        """These and more, at the next positions.

        Args:
            vectors: [N, D], of length 1.

        Raises:
            ValueError: they have another width.
        """
        if not len(vectors):
            return self
        codes = self._storage.encode(vectors)
        parts = list(self._parts)
        if parts and len(parts[-1].codes) <= _MAX_TAIL:
            codes = np.concatenate([parts.pop().codes, codes])
        if parts and len(codes) > _MAX_TAIL:
            codes = np.concatenate([parts.pop().codes, codes])
        first = sum(len(part.codes) for part in parts)
        return AppendedVectors(self._storage, (*parts, self._storage.part(codes, first)))

    def __len__(self) -> int:
        """N."""
        return sum(len(part.codes) for part in self._parts)

    def vectors(self, rows: IntArray) -> FloatArray:
        """Some of them as they are stored, counted from 0: [K] -> [K, D]."""
        vectors, first = np.empty((len(rows), self._storage.dimension), np.float32), 0
        for part in self._parts:
            inside = (rows >= first) & (rows < first + len(part.codes))
            vectors[inside] = self._storage.decode(part.codes[rows[inside] - first])
            first += len(part.codes)
        return vectors

    def search(self, queries: FloatArray, count: int, search_value: int, allowed: Selection | None) -> list[Neighbours]:
        """The nearest of each query, at most C from each part of them: [B, C].

        Args:
            search_value, allowed: as of `IndexBackend.search`, over all M + N.
        """
        if not self._parts:
            return []
        parameters = self._storage.parameters(search_value, allowed)
        return [Neighbours(*index.search(queries, count, params=parameters)) for index in self.indexes]

    def search_all(self, query: FloatArray, search_value: int, allowed: Selection | None) -> list[Neighbours]:
        """All that may be found for one query [1, D], in any order: [1, N] from each part of them.

        Args:
            search_value: with which nothing is skipped.
        """
        if not self._parts:
            return []
        parameters = self._storage.parameters(search_value, allowed)
        found = [index.range_search(query, -math.inf, params=parameters) for index in self.indexes]
        return [Neighbours(scores[None], positions[None]) for _, scores, positions in found]


class _Storage:
    """How an index stores its vectors. It keeps the index, whose centroids it uses."""

    def __init__(self, base: IndexBackend) -> None:
        self._base = base
        self._first = len(base)
        self.dimension = base.dimension

    @cached_property
    def _index(self) -> Any:
        """An empty one. Made when it is needed: most versions have no revision, and `disk` does without FAISS."""
        return self._base.empty_like() if isinstance(self._base, FaissBackend) else empty_flat(self.dimension)

    @cached_property
    def _layers(self) -> tuple[str, ...]:
        return layers_of(self._index)

    def encode(self, vectors: FloatArray) -> NDArray[np.uint8]:
        """[N, D] -> [N, bytes]."""
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise ValueError(f"expected vectors [N, {self.dimension}], got {list(vectors.shape)}")
        self._require_whole()
        codes: NDArray[np.uint8] = self._index.sa_encode(np.ascontiguousarray(vectors, np.float32))
        return codes

    def decode(self, codes: NDArray[np.uint8]) -> FloatArray:
        """[N, bytes] -> [N, D]."""
        self._require_whole()
        vectors: FloatArray = self._index.sa_decode(codes)
        return vectors

    def part(self, codes: NDArray[np.uint8], first: int) -> _Part:
        """The appended vectors from the `first` on."""
        index = empty_like(self._index)
        index = index if self._layers == (NPROBE,) else load_faiss().IndexIDMap(index)
        first += self._first
        index.add_sa_codes(codes, np.arange(first, first + len(codes)))
        return _Part(codes, index)

    def parameters(self, search_value: int, allowed: Selection | None) -> Any:
        """FAISS's search parameters; it takes no search value where there are no lists."""
        return search_parameters(self._layers, search_value, allowed=allowed)

    def _require_whole(self) -> None:
        """The centroids may be in a mapped file."""
        if isinstance(self._base, FaissBackend):
            self._base.require_whole()
