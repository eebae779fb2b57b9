"""Rates per answer with intervals, and what may be said of two of them.

A session draws its arm, and its answers resemble each other: the variance is that between sessions, by the delta method
(Deng, Knoblich and Lu 2018). That of single answers would make intervals too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

from indexer.service.experiments.outcome_counts import OutcomeName
from ubm_embed.evaluation.proportions import wilson_interval

LEVEL = 0.95
# With less the normal approximation says nothing.
MIN_SESSIONS = 100
MIN_SESSIONS_WITH_OUTCOME = 20

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Rate:
    """Outcomes per answer.

    Attributes:
        variance: of the value; None of too few sessions, or too few with the outcome.
    """

    value: float
    variance: float | None

    @classmethod
    def from_sums(cls, sums: Mapping[str, int], outcome: OutcomeName) -> Rate | None:
        """The rate of one group; None if it has no answers."""
        sessions, answers = sums.get("sessions", 0), sums.get("answers", 0)
        if not answers:
            return None
        value = sums.get(outcome, 0) / answers
        if sessions < MIN_SESSIONS or sums.get(f"sessions_with_{outcome}", 0) < MIN_SESSIONS_WITH_OUTCOME:
            return cls(value, None)
        # What sessions have above or below the rate, squared. Their mean is 0, as the rate is the ratio of the sums.
        residuals = (
            sums.get(f"{outcome}_squared", 0)
            - 2 * value * sums.get(f"answers_times_{outcome}", 0)
            + value * value * sums.get("answers_squared", 0)
        )
        return cls(value, sessions / (sessions - 1) * max(residuals, 0.0) / answers**2)

    @property
    def interval(self) -> Interval | None:
        """Where the rate lies, at 95%."""
        if self.variance is None:
            return None
        low, high = _around(self.value, self.variance, LEVEL)
        return max(low, 0.0), high

    def difference(self, other: Rate, comparisons: int) -> Interval | None:
        """Where the difference to another rate lies: all of so many comparisons hold together at 95% (Bonferroni)."""
        if self.variance is None or other.variance is None:
            return None
        return _around(self.value - other.value, self.variance + other.variance, 1 - (1 - LEVEL) / comparisons)


def share_interval(count: int, total: int) -> Interval | None:
    """Where a share lies, at 95% (Wilson 1927); None of too few."""
    if total < MIN_SESSIONS_WITH_OUTCOME:
        return None
    return wilson_interval(count, total, LEVEL)


def _around(value: float, variance: float, level: float) -> Interval:
    half = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(variance)
    return value - half, value + half
