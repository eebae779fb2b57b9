"""Intervals hold what they promise when answers of one session resemble each other."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from indexer.service.experiments.rates import Rate, share_interval
from ubm_embed.data.arrays import IntArray
from ubm_embed.evaluation.intervals import bootstrap_intervals

SESSIONS = 1_500


def sessions(rng: np.random.Generator, rate: float = 0.1) -> IntArray:
    """Answers and clicks of each session, [S, 2]; some sessions click at almost all answers, most at none."""
    answers = rng.geometric(0.25, SESSIONS)
    clicks = rng.binomial(answers, rng.beta(2 * rate, 2 * (1 - rate), SESSIONS))
    return np.stack([answers, clicks], axis=1)


def sums(counts: IntArray) -> dict[str, int]:
    answers, clicks = counts[:, 0], counts[:, 1]
    return {
        "sessions": len(counts),
        "answers": int(answers.sum()),
        "answers_squared": int((answers**2).sum()),
        "clicks": int(clicks.sum()),
        "clicks_squared": int((clicks**2).sum()),
        "answers_times_clicks": int((answers * clicks).sum()),
        "sessions_with_clicks": int((clicks > 0).sum()),
    }


def rate_of(counts: IntArray) -> Rate:
    rate = Rate.from_sums(sums(counts), "clicks")
    assert rate is not None
    return rate


def test_the_interval_is_that_of_a_bootstrap_over_sessions() -> None:
    counts = sessions(np.random.default_rng(1))
    resampled = bootstrap_intervals(
        lambda drawn: {"rate": counts[drawn, 1].sum() / counts[drawn, 0].sum()}, SESSIONS, rounds=2_000
    )
    low, high = resampled["rate"]
    assert rate_of(counts).interval == pytest.approx((low, high), abs=0.1 * (high - low))


def test_it_is_wider_than_if_answers_were_independent() -> None:
    rate = rate_of(sessions(np.random.default_rng(1)))
    assert rate.interval is not None
    low, high = rate.interval
    answers = sums(sessions(np.random.default_rng(1)))["answers"]
    assert high - low > 1.5 * 2 * 1.96 * (rate.value * (1 - rate.value) / answers) ** 0.5


def test_nineteen_of_twenty_intervals_hold_the_true_rate() -> None:
    rng = np.random.default_rng(2)
    intervals = [rate_of(sessions(rng)).interval for _ in range(1_000)]
    held = sum(interval is not None and interval[0] <= 0.1 <= interval[1] for interval in intervals)
    assert 925 <= held <= 970


def test_arms_that_are_the_same_differ_in_one_of_twenty_experiments() -> None:
    rng = np.random.default_rng(3)
    differing = 0
    for _ in range(500):
        low, high = rate_of(sessions(rng)).difference(rate_of(sessions(rng)), comparisons=1) or (0, 0)
        differing += not low <= 0 <= high
    assert 10 <= differing <= 42


def test_a_difference_that_is_there_is_seen() -> None:
    rng = np.random.default_rng(4)
    interval = rate_of(sessions(rng, 0.2)).difference(rate_of(sessions(rng, 0.1)), comparisons=3)
    assert interval is not None
    assert 0 < interval[0] < 0.1 < interval[1]


def test_intervals_of_more_comparisons_are_wider() -> None:
    rng = np.random.default_rng(5)
    one, other = rate_of(sessions(rng)), rate_of(sessions(rng))
    single, several = one.difference(other, 1), one.difference(other, 9)
    assert single is not None
    assert several is not None
    assert several[0] < single[0] < single[1] < several[1]


@pytest.mark.parametrize("change", [{"sessions": 99}, {"sessions_with_clicks": 19}])
def test_too_few_sessions_have_a_rate_and_no_interval(change: dict[str, int]) -> None:
    few = sums(sessions(np.random.default_rng(6))) | change
    rate = Rate.from_sums(few, "clicks")
    assert rate is not None
    assert (rate.value > 0, rate.interval) == (True, None)


def test_no_answers_have_no_rate() -> None:
    assert Rate.from_sums({}, "clicks") is None


@pytest.mark.parametrize(("count", "total"), [(15, 20), (20, 20), (0, 40), (70, 100), (1, 100_000)])
def test_a_share_of_sessions_has_the_interval_of_wilson(count: int, total: int) -> None:
    reference = binomtest(count, total).proportion_ci(method="wilson")
    assert share_interval(count, total) == pytest.approx((reference.low, reference.high), abs=1e-9)


def test_a_share_of_too_few_sessions_has_none() -> None:
    assert share_interval(1, 19) is None
