"""p against all swaps counted out, uniform where the models are alike, small where they are not."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ubm_embed.evaluation.ranking import ranking_metrics
from ubm_embed.evaluation.significance import paired_p_values
from ubm_embed.evaluation.task_metrics import length_metrics, purchase_metrics

ANSWERS = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=20)


def mean(predictions):
    return {"mean": float(predictions.mean())}


def columns(pairs):
    return np.array(pairs).T


@settings(max_examples=30)
@given(pairs=ANSWERS)
def test_p_is_above_0_at_most_1_and_the_same_either_way(pairs):
    first, second = columns(pairs)
    result = paired_p_values(ranking_metrics, first, second, rounds=20)
    assert result.keys() == ranking_metrics(first).keys()
    assert all(1 / 21 <= p <= 1 for p in result.values())
    assert result == paired_p_values(ranking_metrics, second, first, rounds=20)


@settings(max_examples=15)
@given(predictions=st.lists(st.floats(0, 30, width=32), min_size=1, max_size=20))
def test_equal_predictions_do_not_differ(predictions):
    predictions = np.array(predictions, np.float32)
    lengths = np.arange(predictions.size, dtype=np.float32)
    result = paired_p_values(
        lambda predicted: length_metrics(lengths, predicted), predictions, predictions.copy(), rounds=5
    )
    assert result == {"mae": 1.0, "mse": 1.0, "msle": 1.0, "r2": 1.0}


def test_p_estimates_the_share_of_all_swaps():
    rng = np.random.default_rng(4)
    first, second = rng.normal(0, 1, 10), rng.normal(0.6, 1, 10)
    observed, steps = abs((first - second).sum()), first - second
    sums = [abs((steps * signs).sum()) for signs in itertools.product([1, -1], repeat=10)]
    exact = np.mean([total >= observed - 1e-9 for total in sums])
    assert 0.02 < exact < 0.6
    assert paired_p_values(mean, first, second, rounds=4000)["mean"] == pytest.approx(exact, abs=0.03)


def test_ties_up_to_the_last_digit_count():
    # Swaps of the examples leave a difference of 0.1 or 0.3: never less than the 0.1 observed, but for rounding.
    first, second = np.array([0.1, 0.2, 0.3]), np.array([0.2, 0.1, 0.4])
    result = paired_p_values(lambda predictions: {"sum": float(sum(predictions.tolist()))}, first, second, rounds=50)
    assert result == {"sum": 1.0}


def test_alike_models_are_seldom_found_different():
    """Under the null p is about uniform: below 0.1 in about a tenth of 200 pairs of models."""
    rng = np.random.default_rng(1)
    draws = rng.normal(size=(200, 2, 30))
    result = np.array([paired_p_values(mean, *pair, rounds=49)["mean"] for pair in draws])
    assert 0.04 < np.mean(result <= 0.1) < 0.17
    assert 0.4 < result.mean() < 0.6


def test_clearly_better_ranks_differ():
    rng = np.random.default_rng(2)
    first, second = rng.integers(1, 25, 300), rng.integers(1, 60, 300)
    assert set(paired_p_values(ranking_metrics, first, second, rounds=99).values()) == {1 / 100}


def test_metrics_that_are_not_a_mean_over_examples():
    rng = np.random.default_rng(3)
    labels = rng.random(200) < 0.3
    knows = np.where(labels, 0.7, 0.3).astype(np.float32) + rng.normal(0, 0.2, 200).astype(np.float32)
    guesses = rng.random(200).astype(np.float32)
    result = paired_p_values(lambda predictions: purchase_metrics(labels, predictions), knows, guesses, rounds=19)
    assert result == dict.fromkeys(("accuracy", "auroc", "f1", "kappa"), 1 / 20)


def test_a_metric_that_is_not_a_number_proves_nothing():
    first, second = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    assert paired_p_values(lambda predictions: {"none": float("nan")}, first, second, rounds=9) == {"none": 1.0}


def test_the_seed_decides_and_the_caller_s_arrays_stay():
    first, second = np.arange(12.0), np.arange(12.0) % 5 + 2
    kept = first.copy(), second.copy()
    result = [paired_p_values(mean, first, second, rounds=60, seed=seed)["mean"] for seed in (0, 0, 1, 2, 3)]
    assert result[0] == result[1]
    assert len(set(result)) > 1
    assert np.array_equal((first, second), kept)


def test_several_predictions_of_an_example_are_swapped_together():
    def apart(drawn):
        assert np.array_equal(drawn[:, 0], drawn[:, 1])
        return mean(drawn[:, 0])

    first, second = np.arange(9.0), np.arange(9.0) ** 1.1
    twice = [np.stack([one, one], axis=1) for one in (first, second)]
    assert paired_p_values(apart, *twice, rounds=20) == paired_p_values(mean, first, second, rounds=20)


def test_predictions_that_are_not_pairs():
    with pytest.raises(ValueError, match=r"\(3,\) and \(4,\)"):
        paired_p_values(mean, np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match=r"one shape \[E\]"):
        paired_p_values(mean, np.ones((3, 2, 2)), np.ones((3, 2, 2)))
    with pytest.raises(ValueError, match="rounds"):
        paired_p_values(mean, np.ones(3), np.ones(3), rounds=0)
