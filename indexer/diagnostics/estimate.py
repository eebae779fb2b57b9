"""A figure with how sure it is, and as a metric of a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from indexer.diagnostics.report import Better, Metric
from ubm_embed.evaluation.proportions import wilson_interval


@dataclass(frozen=True)
class Estimate:
    """A value with 95% of it, and what it was measured on.

    Attributes:
        interval: None if it was measured on everything, or on too little for an interval.
    """

    value: float
    interval: tuple[float, float] | None
    measured_on: str

    @classmethod
    def share(cls, count: int, size: int, total: int, measured_on: str) -> Self:
        """The share that `count` of a sample are, of `size` out of `total`, with a Wilson interval."""
        interval = wilson_interval(count, size) if size < total else None
        return cls(count / size, interval, measured_on)

    def metric(self, name: str, meaning: str, better: Better | None = None) -> Metric:
        """This figure under a name."""
        return Metric(
            name=name,
            value=self.value,
            interval=self.interval,
            measured_on=self.measured_on,
            better=better,
            meaning=meaning,
        )
