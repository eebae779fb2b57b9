"""Products in groups by how often they are chosen, and a sample of each group.

Letters: M products, G groups, Q sampled products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import IntArray

_DECILES, _MIN_CHOSEN = 10, 50


@dataclass(frozen=True)
class PopularityGroups:
    """The products that nobody chose, and the others in deciles.

    Attributes:
        codes: the group of each product, [M].
        labels: of the groups, the least popular first, [G].
    """

    codes: IntArray
    labels: tuple[str, ...]

    @classmethod
    def of_counts(cls, counts: NDArray[np.int64]) -> PopularityGroups:
        """Groups by how often each product is chosen, [M]."""
        chosen = np.flatnonzero(counts)
        never = int(chosen.size < counts.size)
        # Of a handful of products a tenth tells nothing.
        deciles = _DECILES if chosen.size >= _MIN_CHOSEN else min(chosen.size, 1)
        codes = np.zeros(counts.size, dtype=np.int64)
        ordered = chosen[np.argsort(counts[chosen], kind="stable")]
        codes[ordered] = never + np.arange(chosen.size) * deciles // max(chosen.size, 1)
        names = ["chosen"] if deciles == 1 else [f"decile {number + 1}" for number in range(deciles)]
        return cls(codes, ("never chosen",) * never + tuple(names))

    @property
    def sizes(self) -> NDArray[np.int64]:
        """[G] products of each group."""
        return np.bincount(self.codes, minlength=len(self.labels))

    def sample(self, count: int, rng: np.random.Generator) -> IntArray:
        """About `count` products, as many of each group, in ascending order: [Q]."""
        each = max(count // len(self.labels), 1)
        drawn = []
        for group in range(len(self.labels)):
            members = np.flatnonzero(self.codes == group)
            drawn.append(members if members.size <= each else rng.choice(members, each, replace=False))
        return np.sort(np.concatenate(drawn))

    def weights(self, rows: IntArray) -> NDArray[np.float64]:
        """How many products each of these stands for: [Q]."""
        groups = self.codes[rows]
        weights: NDArray[np.float64] = (self.sizes / np.maximum(np.bincount(groups, minlength=len(self.labels)), 1))[
            groups
        ]
        return weights
