"""One pass over all vectors of a space: moments, hashes, and the exact neighbours of some products.

Letters: M products, B queries, K neighbours, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexer.diagnostics.space import Space, sample_rows
from indexer.index.backend import NOISE, Neighbours
from indexer.refresh.exact_scan import exact_scan
from indexer.refresh.shards import not_unit_length
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.evaluation.duplicates import row_hashes
from ubm_embed.evaluation.moments import Moments
from ubm_embed.progress import Progress

# N_10 is what the literature on hubness reports, and ten products are about what a shop shows.
NEIGHBOURS = 10


class UnitVectors(NamedTuple):
    """A sample of the vectors that are finite and of length 1.

    Attributes:
        rows: of the space, ascending, [K].
        vectors: [K, D].
    """

    rows: IntArray
    vectors: FloatArray

    @classmethod
    def draw(cls, space: Space, count: int, seed: int) -> UnitVectors:
        """At most `count` of them, always the same."""
        rows = sample_rows(space, count, seed)
        vectors = space.vectors(rows)
        bad = not_unit_length(vectors)
        return cls(np.delete(rows, bad), np.delete(vectors, bad, axis=0))


@dataclass(frozen=True)
class SpaceScan:
    """Results of the pass. Use `read`.

    Attributes:
        moments: of the vectors that are finite and of length 1.
        hashes: of each vector's bits, [M]; a number of its own for one that is invalid.
        queries: rows of some products, ascending, [B].
        nearest: their ten nearest and themselves, best first: [B, K].
    """

    moments: Moments
    hashes: NDArray[np.uint64]
    queries: IntArray
    nearest: Neighbours

    @classmethod
    def read(cls, space: Space, queries: int, seed: int, progress: Progress) -> SpaceScan:
        """Read a space once, in memory that grows by eight bytes a product."""
        sample = UnitVectors.draw(space, queries, seed)
        reading = _Reading(space, sample.vectors.shape[1], progress)
        nearest = exact_scan(reading.batches(), sample.vectors, NEIGHBOURS + 1).nearest
        return cls(reading.moments, np.concatenate(reading.hashes), sample.rows, nearest)

    @property
    def invalid(self) -> int:
        """Vectors that are not finite and of length 1."""
        return self.hashes.size - self.moments.count

    def others(self) -> NDArray[np.bool_]:
        """Which of the nearest are neither the query nor equal to it: [B, K].

        Of products with one vector, any ten are the nearest, which says nothing about them.
        """
        is_other: NDArray[np.bool_] = self.nearest.positions != self.queries[:, None]
        return is_other & (self.nearest.scores < 1 - NOISE)


class _Reading:
    """Collects sums and hashes from the batches that go through it."""

    def __init__(self, space: Space, dimension: int, progress: Progress) -> None:
        self.space, self.progress = space, progress
        self.moments = Moments(dimension)
        self.hashes: list[NDArray[np.uint64]] = []

    def batches(self) -> Iterator[FloatArray]:
        done, total = 0, len(self.space)
        for vectors in self.space.batches():
            hashes, bad = row_hashes(vectors), not_unit_length(vectors)
            hashes[bad] = done + bad  # one of its own: what is damaged is no duplicate
            self.hashes.append(hashes)
            if bad.size:
                vectors = vectors.copy()
                vectors[bad] = 0  # near to nothing
            self.moments.add(np.delete(vectors, bad, axis=0) if bad.size else vectors)
            done += len(vectors)
            self.progress("reading vectors", done, total)
            yield vectors
