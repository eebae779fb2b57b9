"""The report of what answers did."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np

from indexer.service.experiments.experiment import Arm, Experiment
from indexer.service.experiments.outcome_counts import Tally, changes
from indexer.service.experiments.outcome_report import report


def simulated(version: int, arm: str, clicks: float, sessions: int = 2_000) -> Counter[str]:
    """Sums of sessions of two answers, each clicked with a probability."""
    counts = Counter[str]()
    for clicked in np.random.default_rng(version).binomial(2, clicks, sessions).tolist():
        counts.update(changes(None, Tally(answers=2, clicks=clicked), version, arm))
    return counts


def test_groups_without_an_experiment() -> None:
    result = report(simulated(1, "", 0.5) + simulated(2, "", 0.2, sessions=10))
    first, second = result["groups"]
    assert (first["version"], first["arm"], first["sessions"], first["answers"]) == (1, "", 2_000, 4_000)
    assert first["clicks_per_answer"]["value"] == first["clicks"] / 4_000
    low, high = first["clicks_per_answer"]["interval"]
    assert low < first["clicks_per_answer"]["value"] < high
    assert first["buys_per_answer"] == {"value": 0.0, "interval": None}
    assert second["clicks_per_answer"]["interval"] is None
    assert result["experiment"] is None


def test_arms_are_compared_with_the_first_over_all_versions() -> None:
    experiment = Experiment(name="x", kind="ab", arms=(Arm(name="old"), Arm(name="new"), Arm(name="unused")))
    counts = simulated(1, "old", 0.2) + simulated(2, "new", 0.3) + simulated(3, "new", 0.4) + simulated(3, "gone", 0.4)
    result = report(counts, experiment)
    assert [(row["arm"], row["sessions"]) for row in result["arms"]] == [("old", 2_000), ("new", 4_000), ("unused", 0)]
    new, unused = result["differences"]
    assert (new["arm"], new["baseline"]) == ("new", "old")
    low, high = new["clicks_per_answer"]["interval"]
    assert 0.1 < low < 0.15 < high < 0.2
    assert unused["clicks_per_answer"] is None


def test_an_interleaving_counts_the_sessions_that_each_list_won() -> None:
    experiment = Experiment(name="x", kind="interleave", arms=(Arm(name="old"), Arm(name="new")))
    counts = Counter[str]()
    for credits, sessions in (((1, 0), 30), ((0, 2), 70), ((1, 1), 5), ((0, 0), 100)):
        for _ in range(sessions):
            counts.update(changes(None, Tally(answers=1, credits=credits), 1, experiment.interleaved_arm))
    result = report(counts, experiment)["interleaving"]
    assert (result["won"], result["tied"], result["sessions"]) == ({"old": 30, "new": 70}, 5, 205)
    assert result["share_won_by_second"] == {"value": 0.7, "interval": [0.604151, 0.781051]}


def test_nothing_was_counted_yet() -> None:
    arms = (Arm(name="a"), Arm(name="b"))
    interleaving = report({}, Experiment(name="x", kind="interleave", arms=arms))["interleaving"]
    assert (interleaving["sessions"], interleaving["share_won_by_second"]) == (0, None)
    assert report({}, Experiment(name="x", kind="ab", arms=arms))["differences"][0]["buys_per_answer"] is None
    assert report({}) == {"level": 0.95, "groups": [], "experiment": None}


def test_it_is_json() -> None:
    experiment = Experiment(name="x", kind="ab", arms=(Arm(name="old"), Arm(name="new")))
    counts = simulated(1, "old", 0.2) + simulated(1, "new", 0.2)
    assert json.loads(json.dumps(report(counts, experiment), allow_nan=False)) == report(counts, experiment)
