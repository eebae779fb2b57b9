"""Hubs and anti-hubs: products that are near to many others, or to none (Radovanovic et al. 2010).

Letters: M products, N sampled vectors, B queries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.diagnostics.estimate import Estimate
from indexer.diagnostics.geometry.scan import NEIGHBOURS, SpaceScan, UnitVectors
from indexer.diagnostics.report import Table
from indexer.diagnostics.space import Space, title_of
from ubm_embed.data.arrays import IntArray
from ubm_embed.evaluation.duplicates import row_hashes
from ubm_embed.evaluation.hubness import k_occurrence, skewness
from ubm_embed.evaluation.nearest import NearestOthers

# With fewer vectors everything is among the ten nearest of much else.
MIN_VECTORS = 10 * NEIGHBOURS
_ROWS_SHOWN = 10


@dataclass(frozen=True)
class SampledOccurrences:
    """The 10-occurrence of a sample of different vectors among each other.

    Attributes:
        rows: of the space, [N].
        counts: N_10 of each, [N].
        sampled: vectors that were drawn, equal ones among them.
        total: M.
    """

    rows: IntArray
    counts: NDArray[np.int64]
    sampled: int
    total: int

    @classmethod
    def measure(cls, sample: UnitVectors, total: int) -> SampledOccurrences | None:
        """Compare a sample of vectors; None if there are too few.

        Of equal vectors one is kept: any ten of them are the nearest of each.
        """
        first = np.sort(np.unique(row_hashes(sample.vectors), return_index=True)[1])
        if first.size < MIN_VECTORS:
            return None
        counts = k_occurrence(NearestOthers.find(sample.vectors[first], NEIGHBOURS).rows, first.size)
        return cls(sample.rows[first], counts, sample.rows.size, total)

    @property
    def skewness(self) -> Estimate:
        """Of the counts, without an interval: the few largest hubs decide it, of which a sample may have none.

        A bootstrap's held the mean of samples of 1,000 in 70% of the cases, and that of all 20,000 in fewer.
        """
        return Estimate(skewness(self.counts), None, self._measured_on)

    @property
    def _drawn_from(self) -> int:
        """How many different vectors there are to draw from; of a sample it is only known that there are more."""
        return self.counts.size if self.sampled == self.total else self.total

    @property
    def antihubs(self) -> Estimate:
        """The share of the sample that is among the ten nearest of nothing."""
        count = int((self.counts == 0).sum())
        return Estimate.share(count, self.counts.size, self._drawn_from, self._measured_on)

    @property
    def _measured_on(self) -> str:
        return f"{self.counts.size:,} of {self.total:,} products, compared with each other"

    def antihub_table(self, space: Space) -> Table:
        """Some that are among the ten nearest of nothing, the most popular first."""
        rows = self.rows[self.counts == 0]
        popularity = space.popularity
        if popularity is not None:
            rows = rows[np.argsort(-popularity[rows], kind="stable")]
        rows = rows[:_ROWS_SHOWN]
        chosen = ["" if popularity is None else int(popularity[row]) for row in rows]
        products = zip(space.products(rows), chosen, strict=True)
        return Table(
            "antihubs",
            "Anti-hubs: products that are among the ten nearest of no other product in the sample.",
            ("product", "title", "times chosen"),
            [(product.product_id, title_of(product), count) for product, count in products],
        )


@dataclass(frozen=True)
class QueryOccurrences:
    """In how many of the queries' exact lists of ten each product is, among all products of the space.

    Attributes:
        rows: products that are in at least one, the most frequent first.
        counts: of these.
        queries: B.
        total: M.
        largest: share of the products that have the largest hub among their ten nearest.
    """

    rows: IntArray
    counts: NDArray[np.int64]
    queries: int
    total: int
    largest: Estimate

    @classmethod
    def count(cls, scan: SpaceScan) -> QueryOccurrences | None:
        """Count what was found in the pass over all vectors; None if all are equal."""
        lists, total = np.where(scan.others(), scan.nearest.positions, -1), scan.hashes.size
        rows, counts = np.unique(lists[lists >= 0], return_counts=True)
        if not rows.size:
            return None
        order = np.argsort(-counts, kind="stable")
        return cls(rows[order], counts[order], len(lists), total, _largest_hub(lists, total))

    def table(self, space: Space) -> Table:
        """The most frequent ones by name."""
        shown = slice(_ROWS_SHOWN)
        products = zip(space.products(self.rows[shown]), self.counts[shown].tolist(), strict=True)
        return Table(
            "hubs",
            f"Hubs: products that are most often among the ten nearest of {self.queries:,} others.",
            ("product", "title", "share of the lists"),
            [(product.product_id, title_of(product), round(count / self.queries, 4)) for product, count in products],
        )


def _largest_hub(lists: IntArray, total: int) -> Estimate:
    """How many of M products have the largest hub among their nearest, by the lists of B of them: [B, K], -1 for none.

    Of a sample, one half chooses the hub and the other counts it, since the largest of many counts is large by chance:
    in spaces without hubs it came to seven times the largest share that there was.
    """
    is_sample = 1 < len(lists) < total
    choosing, counting = (lists[::2], lists[1::2]) if is_sample else (lists, lists)
    rows, counts = np.unique(choosing[choosing >= 0], return_counts=True)
    hub = rows[counts.argmax()] if rows.size else -2
    where = f"the ten nearest of {len(counting):,} products among all {total:,}"
    return Estimate.share(int((counting == hub).any(axis=1).sum()), len(counting), total, where)
