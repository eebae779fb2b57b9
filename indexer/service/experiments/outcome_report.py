"""What the answers did, by version and by arm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Literal

import msgspec

from indexer.service.experiments.experiment import Experiment
from indexer.service.experiments.outcome_counts import OUTCOMES, by_group
from indexer.service.experiments.rates import LEVEL, Interval, Rate, share_interval

_DIGITS = 6
Sums = Mapping[str, int]


class Estimate(msgspec.Struct, frozen=True):
    """A number that was measured.

    Attributes:
        interval: where it lies, at `OutcomeReport.level`; null of too few sessions.
    """

    value: float
    interval: Interval | None


class PerAnswer(msgspec.Struct, frozen=True):
    """Clicks, adds and buys per answer, or differences of two such rates; null without answers."""

    clicks: Estimate | None
    adds: Estimate | None
    buys: Estimate | None

    @classmethod
    def from_sums(cls, sums: Sums) -> PerAnswer:
        """The rates of a group or an arm."""
        rates = (Rate.from_sums(sums, outcome) for outcome in OUTCOMES)
        return cls(*(_estimate(rate.value, rate.interval) if rate else None for rate in rates))

    @classmethod
    def difference(cls, sums: Sums, baseline: Sums, comparisons: int) -> PerAnswer:
        """The rates of an arm minus those of another, see `Rate.difference`."""
        pairs = ((Rate.from_sums(sums, outcome), Rate.from_sums(baseline, outcome)) for outcome in OUTCOMES)
        return cls(
            *(
                _estimate(rate.value - base.value, rate.difference(base, comparisons)) if rate and base else None
                for rate, base in pairs
            )
        )


class Outcomes(msgspec.Struct, frozen=True):
    """What sessions did with their answers.

    Attributes:
        sessions: that were given answers. One that was given answers of two versions counts for both.
    """

    sessions: int
    answers: int
    clicks: int
    adds: int
    buys: int
    per_answer: PerAnswer


class GroupOutcomes(Outcomes, frozen=True, kw_only=True):
    """Of the answers of one version and arm, "" without one."""

    version: int
    arm: str


class ArmOutcomes(Outcomes, frozen=True, kw_only=True):
    """Of the answers of one arm, over all versions."""

    arm: str
    weight: float


class ArmDifference(msgspec.Struct, frozen=True):
    """An arm's rates minus those of the first. The intervals of all arms hold together."""

    arm: str
    baseline: str
    per_answer: PerAnswer


class Interleaving(Outcomes, frozen=True, kw_only=True):
    """Of answers that were drafted from two lists.

    Attributes:
        won: by arm, the sessions with more clicks, adds and buys of its matches than of the other's.
        tied: sessions with as many of both.
        share_won_by_second: of the sessions that either won; above a half, the second arm's list is preferred.
    """

    arm: str
    won: dict[str, int]
    tied: int
    share_won_by_second: Estimate | None


class ExperimentName(msgspec.Struct, frozen=True):
    """Which experiment, and how its arms are compared."""

    name: str
    kind: Literal["ab", "interleave"]


class OutcomeReport(msgspec.Struct, frozen=True):
    """What the answers did.

    Attributes:
        level: of the intervals.
        groups: oldest version first, also those of no arm.
        experiment: null without one.
        arms, differences: of an A/B comparison.
        interleaving: of an interleaving.
    """

    level: float
    groups: tuple[GroupOutcomes, ...]
    experiment: ExperimentName | None = None
    arms: tuple[ArmOutcomes, ...] = ()
    differences: tuple[ArmDifference, ...] = ()
    interleaving: Interleaving | None = None


def report(counts: Mapping[str, int], experiment: Experiment | None = None) -> OutcomeReport:
    """What the answers did.

    Args:
        counts: the sums of `outcome_counts.changes` over all sessions.
    """
    groups, by_arm = by_group(counts), dict[str, Counter[str]]()
    for group, sums in groups.items():
        by_arm.setdefault(group.arm, Counter()).update(sums)
    rows = tuple(
        GroupOutcomes(*_outcomes(sums), version=group.version, arm=group.arm) for group, sums in groups.items()
    )
    if experiment is None:
        return OutcomeReport(LEVEL, rows)
    result = partial(OutcomeReport, LEVEL, rows, ExperimentName(experiment.name, experiment.kind))
    if experiment.is_interleaved:
        return result(interleaving=_interleaving(experiment, by_arm.get(experiment.interleaved_arm, {})))
    sums_of: dict[str, Sums] = {arm.name: by_arm.get(arm.name, {}) for arm in experiment.arms}
    arms = tuple(ArmOutcomes(*_outcomes(sums_of[arm.name]), arm=arm.name, weight=arm.weight) for arm in experiment.arms)
    return result(arms=arms, differences=_differences(sums_of))


def _outcomes(sums: Sums) -> tuple[int, int, int, int, int, PerAnswer]:
    """The fields of `Outcomes`."""
    sessions, answers, clicks, adds, buys = (sums.get(name, 0) for name in ("sessions", "answers", *OUTCOMES))
    return sessions, answers, clicks, adds, buys, PerAnswer.from_sums(sums)


def _interleaving(experiment: Experiment, sums: Sums) -> Interleaving:
    first, second = (arm.name for arm in experiment.arms)
    won = {first: sums.get("won_by_0", 0), second: sums.get("won_by_1", 0)}
    decided = won[first] + won[second]
    return Interleaving(
        *_outcomes(sums),
        arm=experiment.interleaved_arm,
        won=won,
        tied=sums.get("tied", 0),
        share_won_by_second=_estimate(won[second] / decided, share_interval(won[second], decided)) if decided else None,
    )


def _differences(arms: Mapping[str, Sums]) -> tuple[ArmDifference, ...]:
    baseline, *others = arms
    comparisons = len(others) * len(OUTCOMES)
    return tuple(
        ArmDifference(arm, baseline, PerAnswer.difference(arms[arm], arms[baseline], comparisons)) for arm in others
    )


def _estimate(value: float, interval: Interval | None) -> Estimate:
    ends = None if interval is None else (round(interval[0], _DIGITS), round(interval[1], _DIGITS))
    return Estimate(round(value, _DIGITS), ends)
