"""The report of what answers did."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np

from indexer.service.experiments.experiment import Arm, Experiment
from indexer.service.experiments.outcome_counts import Tally, changes
from indexer.service.experiments.outcome_report import Estimate, OutcomeReport, report
from indexer.service.experiments.rates import Interval


def simulated(version: int, arm: str, clicks: float, sessions: int = 2_000) -> Counter[str]:
    """Sums of sessions of two answers, each clicked with a probability."""
    counts = Counter[str]()
    for clicked in np.random.default_rng(version).binomial(2, clicks, sessions).tolist():
        counts.update(changes(None, Tally(answers=2, clicks=clicked), version, arm))
    return counts


def interval(estimate: Estimate | None) -> Interval:
    assert estimate is not None
    assert estimate.interval is not None
    return estimate.interval


def test_groups_without_an_experiment() -> None:
    result = report(simulated(1, "", 0.5) + simulated(2, "", 0.2, sessions=10))
    first, second = result.groups
    assert (first.version, first.arm, first.sessions, first.answers) == (1, "", 2_000, 4_000)
    low, high = interval(first.per_answer.clicks)
    assert low < first.clicks / 4_000 < high
    assert first.per_answer.buys == Estimate(0.0, None)
    assert second.per_answer.clicks == Estimate(second.clicks / 20, None)
    assert result.experiment is None


def test_arms_are_compared_with_the_first_over_all_versions() -> None:
    experiment = Experiment(name="x", kind="ab", arms=(Arm(name="old"), Arm(name="new"), Arm(name="unused")))
    counts = simulated(1, "old", 0.2) + simulated(2, "new", 0.3) + simulated(3, "new", 0.4) + simulated(3, "gone", 0.4)
    result = report(counts, experiment)
    assert [(arm.arm, arm.sessions) for arm in result.arms] == [("old", 2_000), ("new", 4_000), ("unused", 0)]
    new, unused = result.differences
    assert (new.arm, new.baseline) == ("new", "old")
    low, high = interval(new.per_answer.clicks)
    assert 0.1 < low < 0.15 < high < 0.2
    assert (unused.arm, unused.per_answer.clicks) == ("unused", None)


def test_an_interleaving_counts_the_sessions_that_each_list_won() -> None:
    experiment = Experiment(name="x", kind="interleave", arms=(Arm(name="old"), Arm(name="new")))
    counts = Counter[str]()
    for credits, sessions in (((1, 0), 30), ((0, 2), 70), ((1, 1), 5), ((0, 0), 100)):
        for _ in range(sessions):
            counts.update(changes(None, Tally(answers=1, credits=credits), 1, experiment.interleaved_arm))
    result = report(counts, experiment).interleaving
    assert result is not None
    assert (result.won, result.tied, result.sessions) == ({"old": 30, "new": 70}, 5, 205)
    assert result.share_won_by_second == Estimate(0.7, (0.604151, 0.781051))


def test_nothing_was_counted_yet() -> None:
    arms = (Arm(name="a"), Arm(name="b"))
    interleaving = report({}, Experiment(name="x", kind="interleave", arms=arms)).interleaving
    assert interleaving is not None
    assert (interleaving.sessions, interleaving.share_won_by_second) == (0, None)
    assert report({}, Experiment(name="x", kind="ab", arms=arms)).differences[0].per_answer.buys is None
    assert report({}) == OutcomeReport(level=0.95, groups=())


def test_it_is_json() -> None:
    experiment = Experiment(name="x", kind="ab", arms=(Arm(name="old"), Arm(name="new")))
    result = report(simulated(1, "old", 0.2) + simulated(1, "new", 0.2), experiment)
    assert msgspec.json.decode(msgspec.json.encode(result), type=OutcomeReport) == result
