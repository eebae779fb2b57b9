"""What the answers did, by version and by arm, as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from indexer.service.experiments.experiment import Experiment
from indexer.service.experiments.outcome_counts import OUTCOMES, by_group
from indexer.service.experiments.rates import LEVEL, Interval, Rate, share_interval

_DIGITS = 6
Sums = Mapping[str, int]


def report(counts: Mapping[str, int], experiment: Experiment | None = None) -> dict[str, Any]:
    """What the answers did.

    Args:
        counts: the sums of `outcome_counts.changes` over all sessions.

    Returns:
        `groups`: by version and arm the sessions, answers, clicks, adds, buys, and the last three per answer as
        `{"value", "interval"}`; an interval is null where there is too little to say. With an experiment `arms`: the
        same by arm, over all versions, and `differences` of each arm to the first; of an interleaving instead
        `interleaving`: the sessions that each list won by clicks, adds and buys, and the second list's share of them.
    """
    groups = by_group(counts)
    result: dict[str, Any] = {
        "level": LEVEL,
        "groups": [{"version": group.version, "arm": group.arm} | _row(sums) for group, sums in groups.items()],
    }
    if experiment is None:
        return result | {"experiment": None}
    by_arm: dict[str, Counter[str]] = {}
    for group, sums in groups.items():
        by_arm.setdefault(group.arm, Counter()).update(sums)
    result["experiment"] = {"name": experiment.name, "kind": experiment.kind}
    if experiment.is_interleaved:
        return result | {"interleaving": _interleaving(experiment, by_arm.get(experiment.interleaved_arm, Counter()))}
    arms = {arm.name: by_arm.get(arm.name, Counter()) for arm in experiment.arms}
    result["arms"] = [{"arm": arm.name, "weight": arm.weight} | _row(arms[arm.name]) for arm in experiment.arms]
    return result | {"differences": _differences(arms)}


def _row(sums: Sums) -> dict[str, Any]:
    numbers = {name: sums.get(name, 0) for name in ("sessions", "answers", *OUTCOMES)}
    rates = {outcome: Rate.from_sums(sums, outcome) for outcome in OUTCOMES}
    return numbers | {
        f"{outcome}_per_answer": None if rate is None else _value(rate.value, rate.interval)
        for outcome, rate in rates.items()
    }


def _differences(arms: Mapping[str, Sums]) -> list[dict[str, Any]]:
    """Each arm's rates minus those of the first."""
    baseline, *others = arms
    comparisons = len(others) * len(OUTCOMES)
    return [
        {"arm": name, "baseline": baseline}
        | {
            f"{outcome}_per_answer": _difference(
                Rate.from_sums(arms[name], outcome), Rate.from_sums(arms[baseline], outcome), comparisons
            )
            for outcome in OUTCOMES
        }
        for name in others
    ]


def _difference(rate: Rate | None, baseline: Rate | None, comparisons: int) -> dict[str, Any] | None:
    if rate is None or baseline is None:
        return None
    return _value(rate.value - baseline.value, rate.difference(baseline, comparisons))


def _interleaving(experiment: Experiment, sums: Sums) -> dict[str, Any]:
    first, second = (arm.name for arm in experiment.arms)
    won = {first: sums.get("won_by_0", 0), second: sums.get("won_by_1", 0)}
    decided = won[first] + won[second]
    share = _value(won[second] / decided, share_interval(won[second], decided)) if decided else None
    row = {"arm": experiment.interleaved_arm} | _row(sums)
    return row | {"won": won, "tied": sums.get("tied", 0), "share_won_by_second": share}


def _value(value: float, interval: Interval | None) -> dict[str, Any]:
    ends = None if interval is None else [round(end, _DIGITS) for end in interval]
    return {"value": round(value, _DIGITS), "interval": ends}
