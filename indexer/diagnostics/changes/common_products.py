"""The products that two versions have in common.

Letters: P products of both versions, N of a sample of them, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from indexer.diagnostics.space import VersionSpace
from indexer.refresh.version_shift import rows_of
from ubm_embed.data.arrays import FloatArray, IntArray


@dataclass(frozen=True)
class CommonProducts:
    """Products that stand in both versions, wherever: [P]; or a part of them.

    Attributes:
        before, after: the versions.
        rows_before, rows_after: of each product, ascending in the later version: [P].
    """

    before: VersionSpace
    after: VersionSpace
    rows_before: IntArray
    rows_after: IntArray

    @classmethod
    def of(cls, before: VersionSpace, after: VersionSpace) -> Self:
        """All products of both versions."""
        rows = rows_of(before.product_ids, after.product_ids)
        common = np.flatnonzero(rows >= 0)
        return cls(before, after, rows[common], common)

    def __len__(self) -> int:
        return int(self.rows_after.size)

    def take(self, chosen: IntArray) -> CommonProducts:
        """Those at these indices: [N]."""
        return CommonProducts(self.before, self.after, self.rows_before[chosen], self.rows_after[chosen])

    def draw(self, count: int, seed: int) -> IntArray:
        """Indices of at most `count`, drawn at random without repetition."""
        return np.sort(np.random.default_rng([seed, 6]).permutation(len(self))[:count])

    def vectors(self) -> tuple[FloatArray, FloatArray]:
        """Of the earlier version and of the later one: [N, D] each."""
        return self.before.vectors(self.rows_before), self.after.vectors(self.rows_after)
