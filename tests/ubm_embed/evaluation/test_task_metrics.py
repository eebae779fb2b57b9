"""Each metric against its definition, written out slowly, and where it has none."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, roc_auc_score

from ubm_embed.evaluation.ranking import hit_at_k, mrr_at_k, ndcg_at_k, ranking_metrics
from ubm_embed.evaluation.task_metrics import HIGHER_IS_BETTER, higher_is_better, length_metrics, purchase_metrics

# Quarters tie often, with each other and with the threshold.
QUARTERS = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
LENGTHS = st.integers(0, 40)
PREDICTIONS = st.floats(-5, 50, width=32)


def slow_auroc(labels, probabilities):
    """Over all pairs of a purchase and none: 1 where the purchase scores higher, a half where they tie."""
    pairs = [
        (ours > theirs) + (ours == theirs) / 2
        for ours, bought in zip(probabilities, labels, strict=True)
        for theirs, other in zip(probabilities, labels, strict=True)
        if bought and not other
    ]
    return sum(pairs) / len(pairs)


def slow_purchase_metrics(labels, probabilities, threshold):
    cells = [(bool(bought), bool(p > threshold)) for bought, p in zip(labels, probabilities, strict=True)]
    both, missed, false = (cells.count(cell) for cell in [(True, True), (True, False), (False, True)])
    size, agreed = len(cells), sum(bought == predicted for bought, predicted in cells) / len(cells)
    bought, predicted = (both + missed) / size, (both + false) / size
    by_chance = bought * predicted + (1 - bought) * (1 - predicted)
    return {
        "accuracy": agreed,
        "auroc": slow_auroc(labels, probabilities),
        "f1": 2 * both / (2 * both + missed + false),
        "kappa": (agreed - by_chance) / (1 - by_chance),
    }


@settings(max_examples=60)
@given(
    examples=st.lists(st.tuples(st.booleans(), QUARTERS), min_size=2, max_size=20).filter(
        lambda examples: len({bought for bought, _ in examples}) == 2
    ),
    threshold=QUARTERS,
)
def test_purchase_metrics_are_their_definitions(examples, threshold):
    labels, probabilities = (np.array(column) for column in zip(*examples, strict=True))
    result = purchase_metrics(labels, probabilities.astype(np.float32), threshold)
    assert result == pytest.approx(slow_purchase_metrics(labels, probabilities, threshold), abs=1e-9)
    assert all(type(value) is float for value in result.values())


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), levels=st.sampled_from([2, 30, 10**6]))
def test_purchase_metrics_are_those_of_scikit_learn(seed, levels):
    rng = np.random.default_rng(seed)
    labels, probabilities = np.append(rng.random(50) < 0.3, [False, True]), rng.integers(levels, size=52) / levels
    predicted = probabilities > 0.5
    assert purchase_metrics(labels, probabilities.astype(np.float32)) == pytest.approx(
        {
            "accuracy": accuracy_score(labels, predicted),
            "auroc": roc_auc_score(labels, probabilities.astype(np.float32)),
            "f1": f1_score(labels, predicted, zero_division=0.0),
            "kappa": cohen_kappa_score(labels, predicted),
        },
        abs=1e-12,
    )


def test_purchase_metrics_by_hand():
    labels = np.array([True, True, False, False, False])
    probabilities = np.array([0.9, 0.4, 0.6, 0.1, 0.2], dtype=np.float32)
    expected = {"accuracy": 3 / 5, "auroc": 5 / 6, "f1": 1 / 2, "kappa": (0.6 - 0.52) / 0.48}
    assert purchase_metrics(labels, probabilities) == pytest.approx(expected)


@pytest.mark.parametrize(("constant", "f1"), [(0.5, 0.0), (0.0, 0.0), (1.0, 0.4)])
def test_a_constant_scorer_gains_nothing(constant, f1):
    labels = np.array([True] + [False] * 3)
    result = purchase_metrics(labels, np.full(4, constant, np.float32))
    assert result["auroc"] == 0.5
    assert result["kappa"] == 0.0
    assert result["f1"] == pytest.approx(f1)


@pytest.mark.parametrize(
    ("labels", "message"),
    [([True] * 3, "all 3 labels are True"), ([False], "all 1 labels are False"), ([], "no labels")],
)
def test_one_class_has_no_auroc(labels, message):
    with pytest.raises(ValueError, match=message):
        purchase_metrics(np.array(labels, dtype=bool), np.full(len(labels), 0.3, np.float32))


def test_a_probability_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        purchase_metrics(np.array([True, False]), np.array([0.3, np.nan], np.float32))


@given(examples=st.lists(st.tuples(LENGTHS, PREDICTIONS), min_size=1, max_size=20))
def test_length_metrics_are_their_definitions(examples):
    lengths, predictions = (np.array(column, np.float32) for column in zip(*examples, strict=True))
    errors = [actual - predicted for actual, predicted in examples]
    logs = [math.log1p(actual) - math.log1p(max(predicted, 0)) for actual, predicted in examples]
    mean = math.fsum(lengths.tolist()) / len(examples)
    variance = math.fsum((actual - mean) ** 2 for actual, _ in examples)
    squares = math.fsum(error**2 for error in errors)
    expected = {
        "mae": math.fsum(map(abs, errors)) / len(examples),
        "mse": squares / len(examples),
        "msle": math.fsum(log**2 for log in logs) / len(examples),
        "r2": 1 - squares / variance if len(set(lengths)) > 1 else 0.0,
    }
    result = length_metrics(lengths, predictions)
    assert result == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert all(type(value) is float for value in result.values())


def test_each_error_takes_its_own_guess():
    lengths, mean, median, logarithmic = np.array([[1, 2, 9], [4, 4, 5], [1, 2, 3], [2, 3, 4]], np.float32)
    result = length_metrics(lengths, np.stack([mean, median, logarithmic], axis=1))
    by_guess = [length_metrics(lengths, guess) for guess in (median, mean, logarithmic, mean)]
    assert result == {name: one[name] for name, one in zip(("mae", "mse", "msle", "r2"), by_guess, strict=True)}


@pytest.mark.parametrize("predictions", [[3, 3, 3], [1, 9, 4]])
def test_equal_lengths_leave_nothing_to_explain(predictions):
    assert length_metrics(np.full(3, 3, np.float32), np.array(predictions, np.float32))["r2"] == 0.0


def test_the_mean_explains_nothing_and_a_negative_prediction_is_0_to_msle_alone():
    lengths = np.array([0, 2, 4], np.float32)
    assert length_metrics(lengths, np.full(3, 2, np.float32))["r2"] == 0.0
    below, at_0 = (length_metrics(lengths, np.array([low, 2, 4], np.float32)) for low in (-3, 0))
    assert below == {"mae": 1.0, "mse": 3.0, "msle": 0.0, "r2": pytest.approx(1 - 9 / 8)}
    assert at_0 == {"mae": 0.0, "mse": 0.0, "msle": 0.0, "r2": 1.0}


@pytest.mark.parametrize(
    ("lengths", "predictions", "message"),
    [([], [], "no lengths"), ([-1.0, 2.0], [1.0, 1.0], "below 0"), ([1.0], [np.nan], "NaN")],
)
def test_lengths_that_cannot_be_measured(lengths, predictions, message):
    with pytest.raises(ValueError, match=message):
        length_metrics(np.array(lengths, np.float32), np.array(predictions, np.float32))


def test_ranking_metrics_are_named_by_their_cutoffs():
    ranks = np.array([1, 3, 11, 40])
    result = ranking_metrics(ranks)
    assert list(result) == ["hit@10", "mrr@10", "ndcg@10", "hit@20", "mrr@20", "ndcg@20"]
    measures = {"hit": hit_at_k, "mrr": mrr_at_k, "ndcg": ndcg_at_k}
    assert result == {f"{name}@{k}": measure(ranks, k) for k in (10, 20) for name, measure in measures.items()}
    assert ranking_metrics(ranks, [1]) == {"hit@1": 0.25, "mrr@1": 0.25, "ndcg@1": 0.25}
    with pytest.raises(ValueError, match="no ranks"):
        ranking_metrics(ranks[:0])


def test_every_metric_has_a_better_direction():
    labels, scores, ranks = np.array([True, False]), np.array([0.7, 0.2], np.float32), np.array([1, 2])
    everything = {**purchase_metrics(labels, scores), **length_metrics(scores, scores), **ranking_metrics(ranks)}
    assert everything.keys() == HIGHER_IS_BETTER.keys()
    lower = {metric for metric in everything if not higher_is_better(metric)}
    assert lower == {"mae", "mse", "msle"}


def test_the_better_direction_of_any_cutoff_and_of_no_metric():
    assert higher_is_better("hit@50")
    assert higher_is_better("mrr@5")
    for metric in ("hit@", "hit@x", "mae@10", "loss"):
        with pytest.raises(ValueError, match=metric):
            higher_is_better(metric)
