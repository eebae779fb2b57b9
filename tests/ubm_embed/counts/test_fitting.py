"""Fitted weights make held-out targets likelier, follow what the data say, and stay near the defaults without any."""

import numpy as np
import pytest
from scipy.special import logsumexp

from ubm_embed.counts.fitting import fit_count_weights
from ubm_embed.counts.held_out_scores import TEMPERATURES, HeldOutScores
from ubm_embed.counts.ranking_weights import CountWeights
from ubm_embed.counts.session_counts import SessionCounts
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.tasks.examples import TaskExamples

PRODUCTS = 30
RNG = np.random.default_rng(0)


def table(sessions):
    rows = np.array([row for session in sessions for row in session], dtype=np.int32)
    return SessionTable(np.ones(rows.size, np.uint8), rows, np.cumsum([0, *map(len, sessions)]))


def shop(follows, count=400):
    """Sessions of two products, the second of which follows the first, or is any."""
    firsts = RNG.integers(0, PRODUCTS, count)
    seconds = (firsts + 1) % PRODUCTS if follows else (firsts + RNG.integers(1, PRODUCTS, count)) % PRODUCTS
    return np.stack([firsts, seconds], axis=1)


def examples_of(pairs):
    return TaskExamples(table(pairs[:, :1].tolist()), pairs[:, 1].astype(np.int64))


def no_cosines(prefixes):
    return np.zeros((len(prefixes), PRODUCTS), np.float32)


def test_counts_that_foretell_weigh_more_than_counts_that_do_not():
    fitted = [
        fit_count_weights(no_cosines, examples_of(shop(one)), table(shop(one)), PRODUCTS) for one in (True, False)
    ]
    foretelling, random = (np.mean(weights.by_seen) * np.log1p(weights.scale) for weights in fitted)
    assert foretelling > 2 * random


def test_a_handful_of_examples_leaves_a_weight_near_its_prior():
    pairs = shop(True)
    weights = fit_count_weights(no_cosines, examples_of(pairs[:2]), table(pairs), PRODUCTS)
    prior = 2 * np.array(TEMPERATURES)
    assert prior.min() / 2 < min(weights.by_seen) <= max(weights.by_seen) < 2 * prior.max()


def test_without_any_counts_the_prior_stays():
    weights = fit_count_weights(no_cosines, examples_of(shop(True)), table([]), PRODUCTS)
    assert weights.scale == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("repeats", [False, True])
def test_the_loss_is_that_of_a_softmax_over_all_candidates(repeats):
    counts = SessionCounts.fit(table([[0, 1, 2], [2, 3]]), PRODUCTS, CountWeights(by_seen=(0.1, 0.2)))
    prefixes, targets = table([[0, 1], [2], [9]]), np.array([2, 7, 1])
    cosines = RNG.normal(size=(3, PRODUCTS)).astype(np.float32) / 4
    held_out = HeldOutScores.gather(lambda _: cosines, TaskExamples(prefixes, targets), counts, repeats=repeats)
    temperature = TEMPERATURES[1]
    bonus = held_out.sums_of(counts)
    value, slopes = held_out.loss(bonus, temperature)

    scores = cosines.astype(float) / temperature + counts.sums(prefixes).toarray()
    if not repeats:
        scores[[0, 0, 1, 2], [0, 1, 2, 9]] = -np.inf
    assert value == pytest.approx(np.sum(logsumexp(scores, axis=1) - scores[[0, 1, 2], targets]), rel=1e-4)
    for entry in range(bonus.size):
        moved = bonus.copy()
        moved[entry] += 1e-4
        assert (held_out.loss(moved, temperature)[0] - value) / 1e-4 == pytest.approx(slopes[entry], abs=1e-3)
