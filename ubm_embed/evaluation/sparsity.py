"""Next item prediction by how often training saw the target: what a model knows of rare products (paper 4.5, figure 5).

Letters: E questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ubm_embed.data.arrays import IntArray
from ubm_embed.evaluation.task_metrics import ranking_metrics


@dataclass(frozen=True)
class FrequencyBand:
    """The questions whose targets training saw about equally often.

    Attributes:
        least, most: the fewest and the most occurrences, both within the band; None where there is no upper end.
        questions: how many.
        metrics: hit@k and mrr@k over these questions alone.
    """

    least: int
    most: int | None
    questions: int
    metrics: dict[str, float]

    @property
    def label(self) -> str:
        """For people: "0", "1-4", "50+"."""
        if self.most is None:
            return f"{self.least}+"
        return str(self.least) if self.most == self.least else f"{self.least}-{self.most}"

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return {"label": self.label, **asdict(self)}


def by_frequency(
    ranks: IntArray, counts: IntArray, bounds: Sequence[int] = (0, 1, 5, 10, 20, 50, 100)
) -> list[FrequencyBand]:
    """The metrics of each band of targets, rarest first; bands without questions are left out.

    Args:
        ranks: [E], of the targets, 1 for the best.
        counts: [E], how often training saw each question's target.
        bounds: the fewest occurrences of each band, increasing; the last band has no upper end.

    Raises:
        ValueError: ranks and counts are not of one size, bounds do not increase, or a count is below the first.
    """
    if ranks.shape != counts.shape:
        raise ValueError(f"ranks and counts must be of one shape, not {ranks.shape} and {counts.shape}")
    least = np.asarray(bounds, dtype=np.int64)
    if not least.size or (np.diff(least) <= 0).any():
        raise ValueError(f"bounds must be one or more increasing numbers: {list(bounds)}")
    if counts.size and counts.min() < least[0]:
        raise ValueError(f"a count of {counts.min()} is below the first bound, {least[0]}")
    band_of = np.searchsorted(least, counts, side="right") - 1
    return [_band(least.tolist(), band, ranks[band_of == band]) for band in np.unique(band_of).tolist()]


def _band(bounds: Sequence[int], band: int, ranks: IntArray) -> FrequencyBand:
    most = bounds[band + 1] - 1 if band + 1 < len(bounds) else None
    return FrequencyBand(bounds[band], most, ranks.size, ranking_metrics(ranks))
