"""The counts of a version under a revision, by the positions that its products have now.

A product with another text keeps its counts, one that was deleted has none, and a new one takes those of its stand-ins:
what a refresh with the same catalogue makes of them (see `ubm_embed.counts.propagation`), except that a refresh cuts
rows that new products make too long.

Letters: M products of the version, N positions appended, R products of a session, K candidates.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexer.counts.counts_file import VersionCounts
from indexer.index.vector_index import VectorIndex
from indexer.revisions.layer import NOWHERE
from indexer.revisions.overlay import Overlay
from indexer.revisions.stand_in_search import find_stand_ins
from indexer.revisions.stand_ins import StandIns
from ubm_embed.counts.ranking_weights import CountWeights
from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray


class Candidates(NamedTuple):
    """What came after a session's products.

    Attributes:
        positions: ascending: [K].
        sums: of their counts: [K].
        seen: how often they were seen, as bins: [K].
    """

    positions: NDArray[np.int64]
    sums: FloatArray
    seen: NDArray[np.uint8]

    def where(self, mask: BoolArray) -> Candidates:
        """Those that a mask [K] selects, in the order of their positions."""
        rows = np.flatnonzero(mask)
        rows = rows[np.argsort(self.positions[rows])]
        return Candidates(self.positions[rows], self.sums[rows], self.seen[rows])


class _Rows(NamedTuple):
    """Rows of the counts, each with the number of the product that has it and what it counts for there."""

    rows: NDArray[np.int64]
    owners: NDArray[np.int64]
    shares: FloatArray


class RevisedCounts:
    """The counts of a version under a revision. They never change; a later revision makes new ones.

    Attributes:
        published: of the version.
        overlay: the revision.
        stand_ins: of its new products.
    """

    def __init__(self, published: VersionCounts, overlay: Overlay, stand_ins: StandIns) -> None:
        self.published, self.overlay, self.stand_ins = published, overlay, stand_ins
        # As arrays: they are searched for every query.
        self._moved = np.sort(overlay.dead_of_base)
        self._now = overlay.current(self._moved)

    @classmethod
    def as_published(cls, published: VersionCounts, overlay: Overlay) -> RevisedCounts:
        """The counts under the overlay of no revision."""
        return cls(published, overlay, StandIns.none())

    def revised(self, overlay: Overlay, index: VectorIndex) -> RevisedCounts:
        """The counts under another revision. Stand-ins that this one has found are not searched for again.

        Args:
            index: under the other revision.
        """
        found = find_stand_ins(self.published.seen, overlay, index, (self.overlay, self.stand_ins))
        return RevisedCounts(self.published, overlay, found)

    @property
    def weights(self) -> CountWeights:
        """Of the counts beside the cosine."""
        return self.published.weights

    def candidates(self, recent: IntArray, weights: FloatArray) -> Candidates:
        """The weighted sum of what came after some products, without its zeros.

        Args:
            recent: positions of a session's products: [R].
            weights: [R].

        Raises:
            InvalidData: as of `VersionCounts.candidates`.
        """
        read = self._rows(recent)
        rows, sums = self.published.candidates(read.rows, weights[read.owners] * read.shares)
        candidates = Candidates(self._current(rows), sums, self.published.seen[rows])
        if self._moved.size:
            candidates = candidates.where(candidates.positions != NOWHERE)
        if not len(self.stand_ins):
            return candidates
        positions, added = self.stand_ins.followers(rows, sums)
        added -= self._of_themselves(positions, recent, weights)
        together = Candidates(
            np.concatenate([candidates.positions, positions]),
            np.concatenate([candidates.sums, added]),
            np.concatenate([candidates.seen, np.zeros(positions.size, np.uint8)]),
        )
        return together.where(together.sums > 0)

    def parts(self, recent: IntArray, weights: FloatArray, position: int) -> tuple[FloatArray, int]:
        """What each product of a session adds to the sum of one candidate, [R], and how often that was seen, as a bin.

        Args:
            recent, weights: as of `candidates`.
        """
        read, columns = self._rows(recent), self._rows(np.array([position]))
        parts = np.zeros(len(recent), np.float64)
        for column, share in zip(columns.rows.tolist(), columns.shares.tolist(), strict=True):
            values = self.published.transitions.between(read.rows, column)
            parts += np.bincount(read.owners, values * read.shares, len(recent)) * share
        parts[recent == position] = 0  # no product comes after itself
        is_new = self.stand_ins.find(np.array([position])).item() >= 0
        seen = 0 if is_new or not columns.rows.size else int(self.published.seen[columns.rows[0]])
        return (parts * weights).astype(np.float32), seen

    def _rows(self, positions: IntArray) -> _Rows:
        """The rows of products: their own, or those of their stand-ins; none of a product that has neither: [R]."""
        rows = np.array(positions, np.int64)
        owners, shares = np.arange(rows.size), np.ones(rows.size, np.float32)
        appended = rows >= self.overlay.base_count
        if not appended.any():
            return _Rows(rows, owners, shares)
        rows[appended] = self.overlay.appended_bases[rows[appended] - self.overlay.base_count]
        counted, numbers = rows != NOWHERE, self.stand_ins.find(positions)
        new = np.flatnonzero(numbers >= 0)
        held = self.stand_ins.shares[numbers[new]] > 0
        return _Rows(
            np.concatenate([rows[counted], self.stand_ins.rows[numbers[new]][held]]),
            np.concatenate([owners[counted], np.repeat(new, held.sum(axis=1))]),
            np.concatenate([shares[counted], self.stand_ins.shares[numbers[new]][held]]),
        )

    def _of_themselves(self, positions: NDArray[np.int64], recent: IntArray, weights: FloatArray) -> FloatArray:
        """What new products of a session would add to their own sums, since their stand-ins follow each other: [K]."""
        own = np.zeros(positions.size, np.float32)
        for position, weight in zip(recent.tolist(), weights.tolist(), strict=True):
            at = int(np.searchsorted(positions, position))
            if at < positions.size and positions[at] == position:
                rows = self._rows(np.array([position]))
                for row, share in zip(rows.rows.tolist(), rows.shares.tolist(), strict=True):
                    own[at] += weight * share * float(self.published.transitions.between(rows.rows, row) @ rows.shares)
        return own

    def _current(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the products of these rows are now, -1 for those that are deleted: [K]."""
        if not self._moved.size:
            return rows
        ranks = np.minimum(np.searchsorted(self._moved, rows), self._moved.size - 1)
        return np.where(self._moved[ranks] == rows, self._now[ranks], rows)
