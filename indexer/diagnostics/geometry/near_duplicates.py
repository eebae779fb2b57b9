"""Products of different texts whose vectors are nearly equal.

Letters: M products, B queries, K neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.diagnostics.estimate import Estimate
from indexer.diagnostics.geometry.scan import SpaceScan
from indexer.diagnostics.report import Table
from indexer.diagnostics.space import Space, title_of
from ubm_embed.data.arrays import BoolArray, IntArray

# A cosine this high leaves no room for a ranking: two such products score alike, to within 0.045, for any session.
MIN_COSINE = 0.999
_ROWS_SHOWN = 10


@dataclass(frozen=True)
class NearDuplicates:
    """Groups around some products, among their ten nearest.

    Attributes:
        near: which of the nearest are near-duplicates of another text, [B, K].
        queries: rows of the products, [B].
        positions: rows of their nearest, [B, K].
        total: M.
    """

    near: BoolArray
    queries: IntArray
    positions: IntArray
    total: int

    @classmethod
    def find(cls, scan: SpaceScan, codes: NDArray[np.uint64]) -> NearDuplicates:
        """From the pass over all vectors, and the hashes of all texts, [M]."""
        positions = scan.nearest.positions
        near = (scan.nearest.scores >= MIN_COSINE) & (codes[positions] != codes[scan.queries][:, None])
        return cls(near, scan.queries, positions, scan.hashes.size)

    @property
    def share(self) -> Estimate:
        """Of products with a near-duplicate."""
        count, size = int(self.near.any(axis=1).sum()), self.queries.size
        return Estimate.share(count, size, self.total, f"{size:,} of {self.total:,} products")

    def table(self, space: Space) -> Table:
        """The largest groups, each by its product and the nearest member."""
        sizes = self.near.sum(axis=1)
        groups = np.argsort(-sizes, kind="stable")[:_ROWS_SHOWN]
        groups = groups[sizes[groups] > 0]
        nearest = self.positions[groups, self.near[groups].argmax(axis=1)]
        members = zip(
            space.products(self.queries[groups]), sizes[groups].tolist(), space.products(nearest), strict=True
        )
        return Table(
            "near_duplicates",
            f"Products with others of another text at a cosine of {MIN_COSINE:g} or more, among their ten nearest.",
            ("product", "title", "near-duplicates", "such as"),
            [(product.product_id, title_of(product), size, title_of(other)) for product, size, other in members],
        )
