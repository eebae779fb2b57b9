"""Next item prediction by how often training saw the target: how well rare products are known (paper 4.5, figure 5).

Letters: E examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ubm_embed.data.arrays import IntArray
from ubm_embed.evaluation.ranking import ranking_metrics


@dataclass(frozen=True)
class FrequencyBand:
    """The examples whose targets training saw about equally often.

    Attributes:
        min_count, max_count: occurrences in training, both inclusive; None for no upper end.
        examples: how many.
        metrics: hit@k and mrr@k over these examples alone.
    """

    min_count: int
    max_count: int | None
    examples: int
    metrics: dict[str, float]

    @property
    def label(self) -> str:
        """For people: "0", "1-4", "50+"."""
        if self.max_count is None:
            return f"{self.min_count}+"
        return str(self.min_count) if self.max_count == self.min_count else f"{self.min_count}-{self.max_count}"

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return {"label": self.label, **asdict(self)}


def by_frequency(
    ranks: IntArray, counts: IntArray, bounds: Sequence[int] = (0, 1, 5, 10, 20, 50, 100)
) -> list[FrequencyBand]:
    """The metrics of each band of targets, rarest first, without empty bands.

    Args:
        ranks: [E], of the targets, 1 for the best.
        counts: [E], how often training saw each example's target.
        bounds: the `min_count` of each band, increasing; the last band has no upper end.

    Raises:
        ValueError: ranks and counts are not of one size, bounds do not increase, or a count is below the first.
    """
    if ranks.shape != counts.shape:
        raise ValueError(f"ranks and counts must be of one shape, not {ranks.shape} and {counts.shape}")
    starts = np.asarray(bounds, dtype=np.int64)
    if not starts.size or (np.diff(starts) <= 0).any():
        raise ValueError(f"bounds must be one or more increasing numbers: {list(bounds)}")
    if counts.size and counts.min() < starts[0]:
        raise ValueError(f"a count of {counts.min()} is below the first bound, {starts[0]}")
    band_of = np.searchsorted(starts, counts, side="right") - 1
    return [_band(starts.tolist(), band, ranks[band_of == band]) for band in np.unique(band_of).tolist()]


def _band(bounds: Sequence[int], band: int, ranks: IntArray) -> FrequencyBand:
    max_count = bounds[band + 1] - 1 if band + 1 < len(bounds) else None
    return FrequencyBand(bounds[band], max_count, ranks.size, ranking_metrics(ranks))
