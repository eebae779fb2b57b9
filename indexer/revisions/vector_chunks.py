"""Vectors that are appended a few at a time to a sequence that never changes.

Letters: N vectors, D width, K of them.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from ubm_embed.data.arrays import FloatArray, IntArray


class VectorChunks:
    """N vectors, in about log2(N) arrays at most. What is extended shares the larger ones.

    Attributes:
        dimension: D.
    """

    def __init__(self, dimension: int, chunks: tuple[FloatArray, ...] = ()) -> None:
        self.dimension = dimension
        self._chunks = chunks

    def __len__(self) -> int:
        """N."""
        return sum(map(len, self._chunks))

    def extended(self, vectors: FloatArray) -> Self:
        """These vectors and more: [K, D] -> N + K of them."""
        if not len(vectors):
            return self
        chunks = list(self._chunks)
        while chunks and len(chunks[-1]) < 2 * len(vectors):
            vectors = np.concatenate([chunks.pop(), vectors])
        return type(self)(self.dimension, (*chunks, vectors))

    def take(self, rows: IntArray) -> FloatArray:
        """Vectors by their number: [K] -> [K, D]."""
        ends = np.cumsum([len(chunk) for chunk in self._chunks], dtype=np.int64)
        taken = np.empty((len(rows), self.dimension), np.float32)
        for chunk, end in zip(self._chunks, ends, strict=True):
            first = end - len(chunk)
            inside = (rows >= first) & (rows < end)
            taken[inside] = chunk[rows[inside] - first]
        return taken

    def since(self, first: int) -> FloatArray:
        """All but the first ones: [N - first, D]."""
        return self.take(np.arange(first, len(self)))
