"""How transitions are counted, and how much the counts weigh in the score beside the cosine."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.validation import FrozenModel

COUNTS_FILE = "counts.json"  # in a model folder
_BINS = 32
# Far above what fitting finds. Scores stay finite in 32 bits.
_MAX = 1e6


class CountWeights(FrozenModel):
    """The weights of the counts: `cosine + by_seen[bin] x log(1 + scale x sum)`.

    Attributes:
        backward: what a pair adds to the row of the later product, against 1 in that of the earlier one.
        softening: a count is divided by 1 + a hundredth of how often its product was seen, to this power.
        decay: weight of a product of the session against that of the product after it.
        max_recent: products of the session that are looked up.
        scale: of a sum, before its logarithm.
        by_seen: the weight of a product by how often it was seen, see `seen_bins`; the last is for all bins above.
    """

    backward: Annotated[float, Field(ge=0, le=1)] = 0.25
    softening: Annotated[float, Field(ge=0, le=1)] = 0.3
    decay: Annotated[float, Field(gt=0, le=1)] = 0.65
    max_recent: Annotated[int, Field(ge=1, le=256)] = 8
    scale: Annotated[float, Field(gt=0, le=_MAX)] = 1.0
    by_seen: Annotated[tuple[Annotated[float, Field(ge=0, le=_MAX)], ...], Field(min_length=1, max_length=_BINS)] = (
        0.1,
    )

    @classmethod
    def load(cls, folder: Path | None) -> Self:
        """The weights in a model folder; the defaults where it has none, as before they were fitted, or is None.

        Raises:
            InvalidData: a damaged file.
        """
        if folder is None or not (file := folder / COUNTS_FILE).is_file():
            return cls()
        return cls.from_json(file.read_bytes(), file=file)

    def save(self, folder: Path) -> None:
        """Write the weights into a model folder."""
        (folder / COUNTS_FILE).write_text(self.model_dump_json(indent=2) + "\n", "utf-8")

    def recency(self, count: int) -> FloatArray:
        """The weights of the last `count` products of a session, the latest last: [count]."""
        return np.float32(self.decay) ** np.arange(count - 1, -1, -1, dtype=np.float32)

    def bonus(self, counts: FloatArray, seen: NDArray[np.uint8]) -> FloatArray:
        """What is added to the cosines of products with these sums of counts [K] and bins of `seen_bins` [K]: [K]."""
        bonus: FloatArray = _by_bin(self.by_seen)[seen] * np.log1p(np.float32(self.scale) * counts)
        return bonus


@lru_cache(maxsize=64)
def _by_bin(by_seen: tuple[float, ...]) -> FloatArray:
    """The weight of each bin that 8 bits can say: [256]."""
    weights = np.array(by_seen, dtype=np.float32)
    return weights[np.minimum(np.arange(256), weights.size - 1)]


def seen_bins(seen: IntArray) -> NDArray[np.uint8]:
    """Bins of how often products were seen [M]: 0 never, 1 once, 2 for 2 or 3 times, 3 for 4 to 7, and so on."""
    return np.ceil(np.log2(np.asarray(seen, dtype=np.float64) + 1)).astype(np.uint8)
