"""Queries with their exact nearest, kept from version to version: what gates measure without a pass over all vectors.

probes.npz    some products and midpoints of two, the nearest of each, and the sum of all vectors

An exact scan makes them once. A later version takes them over: what is gone drops out of the nearest, what is new is
compared with every query. That stays exact down to the last of the nearest that the scan kept: whatever scores less
might have been dropped then. So of the many nearest that are kept only the first ones are asked for.

Letters: P products, Q queries, K nearest, M vectors, N of them new, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from indexer.index.backend import Neighbours
from indexer.index.recall import TuningQueries, midpoints_of
from indexer.refresh.exact_scan import ScanStatistics, exact_scan, scores_above
from indexer.refresh.version_shift import NEAREST
from ubm_embed.data.arrays import FloatArray, IntArray, evenly_spaced, finite_rows
from ubm_embed.errors import InvalidData

PROBES_FILE = "probes.npz"
# Nearest of each query that are kept, several times as many as are asked for. Of 64, an unusual night of 5% leaves 61.
_DEPTH = 64
# With fewer of the products left than this share, others are drawn.
_MIN_LEFT = 0.5

# Vectors by their positions: [K] -> [K, D].
Vectors = Callable[[IntArray], FloatArray]


@dataclass(frozen=True)
class Probes:
    """Queries with known answers in one version.

    Attributes:
        rows: positions of the products that are queries: [P].
        queries: their vectors, and after them those of midpoints: [Q, D].
        nearest: of each query, best first, position -1 and score -inf where there are no more: [Q, K].
        floors: whatever scores more than this is among the nearest: [Q].
        total: the sum of all vectors, [D].
        count: M.
    """

    rows: IntArray
    queries: FloatArray
    nearest: Neighbours
    floors: FloatArray
    total: NDArray[np.float64]
    count: int

    @classmethod
    def scan(
        cls, batches: Iterable[FloatArray], vectors: Vectors, count: int, wanted: int
    ) -> tuple[Self, ScanStatistics]:
        """Those of a version, by one pass over its vectors, and what else the pass found.

        Args:
            batches: all vectors, some at a time.
            vectors: the same by position.
            count: M.
            wanted: how many products, evenly spaced.
        """
        rows = evenly_spaced(count, wanted)
        products = vectors(rows)
        queries = finite_rows(np.concatenate([products, midpoints_of(products)]))
        statistics = exact_scan(batches, queries, _DEPTH)
        nearest, floors = _deep(statistics.nearest, statistics.rows)
        return cls(rows, queries, nearest, floors, statistics.total, statistics.rows), statistics

    @classmethod
    def read(cls, file: Path) -> Self:
        """The probes that `write` wrote.

        Raises:
            InvalidData: the file is missing or damaged.
        """
        try:
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                nearest = Neighbours(arrays["scores"], arrays["positions"])
                total, count = arrays["total"], int(arrays["count"])
                probes = cls(arrays["rows"], arrays["queries"], nearest, arrays["floors"], total, count)
            probes._require_agreement()
        except FileNotFoundError:
            raise InvalidData("missing; the store is damaged", file=file) from None
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise InvalidData(f"damaged: {str(error).partition(chr(10))[0]}", file=file) from None
        return probes

    def write(self, folder: Path) -> None:
        """Write them into a version's folder."""
        arrays: dict[str, Any] = {"rows": self.rows, "queries": self.queries, "floors": self.floors}
        arrays |= {"scores": self.nearest.scores, "positions": self.nearest.positions, "total": self.total}
        np.savez(folder / PROBES_FILE, count=np.int64(self.count), **arrays)

    def carried(
        self, now: IntArray, count: int, gone: Iterable[FloatArray], added: Iterable[tuple[IntArray, FloatArray]]
    ) -> Probes:
        """The same queries in a later version, without the products whose vectors are gone.

        Args:
            now: where each of the M vectors is there, -1 if it is gone.
            count: how many vectors it has.
            gone: all vectors that are gone, some at a time.
            added: all that are new with their positions, some at a time.
        """
        queries = np.concatenate([np.flatnonzero(self.stays(now)), np.arange(self.rows.size, len(self.queries))])
        positions = self.nearest.positions[queries]
        positions = np.where(positions >= 0, now[positions], -1).astype(np.int64)
        scores = np.where(positions >= 0, self.nearest.scores[queries], np.float32(-np.inf))
        vectors, floors, total = self.queries[queries], self.floors[queries].copy(), self.total.copy()
        best = _in_order(Neighbours(scores, positions), floors)
        for there, part in added:
            total += part.sum(axis=0, dtype=np.float64)
            found = scores_above(floors, vectors @ finite_rows(part).T, there)
            best = _in_order(_joined(best, found), floors)
        for part in gone:
            total -= part.sum(axis=0, dtype=np.float64)
        rows = now[self.rows[self.stays(now)]].astype(np.int64)
        return Probes(rows, vectors, best, floors, total, count)

    def stays(self, now: IntArray) -> NDArray[np.bool_]:
        """Which of its products still have their vectors: [P]."""
        return np.asarray(now[self.rows] >= 0)

    @property
    def unsure(self) -> IntArray:
        """Queries of which fewer of the nearest are known than are asked for."""
        return np.flatnonzero((self.nearest.positions >= 0).sum(axis=1) < self._asked)

    def completed(self, batches: Iterable[FloatArray]) -> Probes:
        """The same, with the nearest of all queries that were unsure, by one pass over all vectors."""
        unsure = self.unsure
        if not unsure.size:
            return self
        found, floors = _deep(exact_scan(batches, self.queries[unsure], _DEPTH).nearest, self.count)
        completed = replace(
            self,
            nearest=Neighbours(self.nearest.scores.copy(), self.nearest.positions.copy()),
            floors=self.floors.copy(),
        )
        completed.nearest.put(unsure, found)
        completed.floors[unsure] = floors
        return completed

    def has_enough(self, wanted: int) -> bool:
        """Whether enough of its products are left to speak for the version."""
        return self.rows.size >= _MIN_LEFT * min(wanted, self.count)

    @property
    def centroid(self) -> NDArray[np.float64]:
        """The mean vector, [D]."""
        return self.total / self.count

    @property
    def products(self) -> FloatArray:
        """Vectors of its products: [P, D]."""
        return self.queries[: self.rows.size]

    @property
    def nearest_of_products(self) -> Neighbours:
        """The nearest of its products, as many as are asked for, themselves among them: [P, min(11, M)]."""
        return self.nearest.part(slice(self.rows.size), slice(self._asked))

    def tuning_queries(self, vectors: Vectors) -> TuningQueries:
        """The queries that an index is tuned with.

        Args:
            vectors: of the version, by their positions.
        """
        midpoints = slice(self.rows.size, None)
        return TuningQueries(
            products=self.products,
            rows=self.rows,
            nearest=self.nearest_of_products,
            midpoints=self.queries[midpoints],
            nearest_midpoints=self.nearest.part(midpoints, slice(self._asked)),
            vectors=vectors,
            count=self.count,
        )

    @property
    def _asked(self) -> int:
        return min(NEAREST + 1, self.count)

    def _require_agreement(self) -> None:
        """Raise ValueError if the arrays do not belong together."""
        count, width = self.queries.shape
        shapes = [self.nearest.scores.shape, self.nearest.positions.shape, self.floors.shape, self.total.shape]
        kinds = [array.dtype.kind for array in (self.rows, self.queries, *self.nearest, self.floors, self.total)]
        if shapes != [(count, _DEPTH), (count, _DEPTH), (count,), (width,)] or kinds != list("iffiff"):
            raise ValueError("its arrays do not belong together")
        highest = max(self.rows.max(initial=-1), self.nearest.positions.max(initial=-1))
        if self.rows.ndim != 1 or np.unique(self.rows).size != self.rows.size or self.rows.size > count:
            raise ValueError("its products are not those of its queries")
        if highest >= self.count or self.rows.min(initial=0) < 0:
            raise ValueError("it names products that are not there")


def _deep(nearest: Neighbours, count: int) -> tuple[Neighbours, FloatArray]:
    """The nearest in a fixed number of columns, and the floors of a scan over `count` vectors."""
    missing = ((0, 0), (0, _DEPTH - nearest.scores.shape[1]))
    scores = np.pad(nearest.scores, missing, constant_values=-np.inf)
    positions = np.pad(nearest.positions, missing, constant_values=-1)
    floors = scores[:, -1].copy() if count > _DEPTH else np.full(len(scores), -np.inf, np.float32)
    return Neighbours(scores, positions), floors


def _joined(one: Neighbours, other: Neighbours) -> Neighbours:
    scores = np.concatenate([one.scores, other.scores], axis=1)
    return Neighbours(scores, np.concatenate([one.positions, other.positions], axis=1))


def _in_order(nearest: Neighbours, floors: FloatArray) -> Neighbours:
    """The best of them in order; a floor rises to the last of those where more are dropped."""
    order = np.lexsort((nearest.positions, -nearest.scores))
    scores = np.take_along_axis(nearest.scores, order, axis=1)
    positions = np.take_along_axis(nearest.positions, order, axis=1)
    dropped = (positions[:, _DEPTH:] >= 0).any(axis=1)
    floors[dropped] = scores[dropped, _DEPTH - 1]
    return Neighbours(scores[:, :_DEPTH].copy(), positions[:, :_DEPTH].copy())
