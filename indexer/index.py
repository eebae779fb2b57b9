"""The searchable structure over a version's vectors. The only place that imports faiss.

Letters: B queries, K matches, M products, D width.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.errors import InvalidData, NotFound

INDEX_FILE = "index.faiss"

# How far two ways of adding up one inner product of unit vectors may lie apart in float32.
NOISE = 2e-6
# Fetched beyond K, so that a tie at the K-th place is mostly seen without a second search.
_MARGIN = 8
_ROWS_AT_ONCE = 4096


class Neighbours(NamedTuple):
    """The nearest vectors of each query, best first.

    Attributes:
        scores: [B, K] inner products.
        positions: [B, K] rows of the vectors that the index was built from.
    """

    scores: FloatArray
    positions: NDArray[np.int64]


class VectorIndex:
    """Exact search by inner product over vectors of length 1.

    The same query gets the same answer alone and in a batch: faiss finds candidates, and their scores are added up
    anew, each in the same way, so that equal vectors score the same to the last bit and stand by position.
    """

    kind = "flat"

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def build(cls, parts: Iterable[FloatArray], *, expected: int = 0) -> Self:
        """An index over vectors of length 1, on the CPU.

        Args:
            parts: the vectors, some at a time: each [N, D].
            expected: how many there will be; room is made for them at once.

        Raises:
            NotFound: faiss is not installed.
            ValueError: there are no vectors.
        """
        faiss, index = load_faiss(), None
        for vectors in parts:
            if index is None:
                index = faiss.IndexFlatIP(vectors.shape[1])
                # It keeps the room when the first vectors take their places; without, it doubles and copies all.
                index.codes.resize(expected * vectors.shape[1] * 4)
            index.add(np.ascontiguousarray(vectors, np.float32))
        if index is None or not index.ntotal:
            raise ValueError("an index needs at least one vector")
        return cls(index)

    @classmethod
    def load(cls, file: str | Path) -> Self:
        """The index that `save` wrote.

        Raises:
            NotFound: faiss is not installed.
            InvalidData: the file is missing, damaged, or an index of another kind.
        """
        faiss = load_faiss()
        if not Path(file).is_file():
            raise InvalidData("missing; the store is damaged", file=file)
        try:
            index = faiss.read_index(str(file))
        except (RuntimeError, MemoryError):  # a damaged header may ask for any amount of memory
            raise InvalidData("truncated or damaged; not an index that can be read", file=file) from None
        if type(index) is not faiss.IndexFlatIP or index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise InvalidData(f"expected a flat index by inner product, found {type(index).__name__}", file=file)
        return cls(index)

    def save(self, file: str | Path) -> None:
        """Write the index.

        Raises:
            OSError: as of any write; faiss itself would report a full disk as a RuntimeError.
        """
        faiss = load_faiss()
        with open(file, "wb") as stream:
            faiss.write_index(self._index, faiss.PyCallbackIOWriter(stream.write))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        """Width of the vectors, D."""
        return int(self._index.d)

    def vectors(self, positions: IntArray) -> FloatArray:
        """Vectors at these positions: [K] -> [K, D]."""
        found: FloatArray = self._index.reconstruct_batch(np.asarray(positions, np.int64))
        return found

    def search(self, queries: FloatArray, k: int) -> Neighbours:
        """The K nearest of each query: K = min(k, M). Equal scores stand by position.

        Args:
            queries: [B, D], of length 1.

        Raises:
            ValueError: `k` is below 1, or the queries are of another width or not finite.
        """
        queries = self._checked(queries, k)
        k = min(k, len(self))
        found = Neighbours(np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64))
        left, fetch = np.arange(len(queries)), min(k + _MARGIN, len(self))
        while left.size:
            rough, candidates = self._index.search(queries[left], fetch)
            # Unless the last candidate is clearly worse than the k-th, one that ties with it may have been left out.
            settled = (rough[:, -1] < rough[:, k - 1] - NOISE) | (fetch == len(self))
            for row, among in zip(left[settled], candidates[settled], strict=True):
                found.scores[row], found.positions[row] = self._ranked(queries[row], among, k)
            left, fetch = left[~settled], min(4 * fetch, len(self))
        return found

    def _checked(self, queries: FloatArray, k: int) -> FloatArray:
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise ValueError(f"expected queries [B, {self.dimension}], got {list(queries.shape)}")
        if not np.isfinite(queries).all():
            raise ValueError("a query is not finite")
        return queries

    def _ranked(self, query: FloatArray, candidates: NDArray[np.int64], k: int) -> tuple[FloatArray, IntArray]:
        """Scores and positions of the best k candidates."""
        parts = np.split(candidates, range(_ROWS_AT_ONCE, candidates.size, _ROWS_AT_ONCE))
        scores = np.concatenate([_inner_products(self.vectors(part), query) for part in parts])
        best = np.lexsort((candidates, -scores))[:k]
        return scores[best], candidates[best]


def _inner_products(vectors: FloatArray, query: FloatArray) -> FloatArray:
    """[K, D] and [D] -> [K]. Not a matrix product: BLAS adds up some rows in another order than others."""
    products: FloatArray = (vectors.astype(np.float64) * query).sum(axis=1).astype(np.float32)
    return products


def load_faiss() -> Any:
    """The faiss module.

    Raises:
        NotFound: it is not installed, or does not load; with the line to type.
    """
    try:
        import faiss
    except ImportError as error:
        install = "pip install 'ubm-embed[cpu]' (or 'ubm-embed[gpu]' where there is an NVIDIA GPU)"
        raise NotFound(f"faiss does not load ({error}); type: {install}") from error
    return faiss
