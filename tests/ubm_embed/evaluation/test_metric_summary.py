"""The summary of a model has the values of the metric functions, whatever threshold the model has."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.tasks.dataset import TaskDataset
from ubm_embed.data.tasks.examples import TargetRange, TaskExamples
from ubm_embed.data.tasks.split import SplitParts
from ubm_embed.data.tasks.task import Task
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.evaluation.metric_summary import MetricSummary, _comparable, measure
from ubm_embed.evaluation.ranking import ranking_metrics
from ubm_embed.evaluation.task_metrics import length_metrics, purchase_metrics

COUNTS = np.array([0, 3, 3, 60, 200])
RNG = np.random.default_rng(3)
SIZE = 80
TARGETS = {
    Task.NIP: RNG.integers(5, size=SIZE),
    Task.PIP: RNG.random(SIZE) < 0.3,
    Task.RLP: RNG.integers(1, 20, size=SIZE),
}
PREDICTIONS = {
    Task.NIP: RNG.integers(1, 40, size=SIZE),
    Task.PIP: np.clip(TARGETS[Task.PIP] * 0.2 + 0.6 * RNG.random(SIZE), 0, 1).astype(np.float32),
    Task.RLP: (TARGETS[Task.RLP] + RNG.normal(size=SIZE)).astype(np.float32),
}


ROUNDED = 0.5e-4 * (1 + 1e-9)  # four digits after the point
ROUNDS = {Task.NIP: 40, Task.PIP: 8, Task.RLP: 15}


def dataset(task):
    """Only the task and the counts matter here."""
    none = SessionTable(np.empty(0, np.uint8), np.empty(0, np.int32), np.zeros(1, np.int64))
    corpus = TokenizedCorpus(TokenTable.from_rows([[1]] * 5), 5, none, np.empty(0, object))
    return TaskDataset(task, corpus, SplitParts(none, TargetRange.whole(none), TargetRange.whole(none)), COUNTS)


def examples(task):
    """Each after one view."""
    views = SessionTable(np.ones(SIZE, np.uint8), np.zeros(SIZE, np.int32), np.arange(SIZE + 1))
    return TaskExamples(views, TARGETS[task])


def summary(task, predictions=None, **settings):
    predictions = PREDICTIONS[task] if predictions is None else predictions
    return MetricSummary.from_predictions(
        "it", dataset(task), examples(task), predictions, rounds=ROUNDS[task], **settings
    )


EXPECTED = {
    Task.NIP: ranking_metrics(PREDICTIONS[Task.NIP]),
    Task.PIP: purchase_metrics(TARGETS[Task.PIP], PREDICTIONS[Task.PIP]),
    Task.RLP: length_metrics(TARGETS[Task.RLP], PREDICTIONS[Task.RLP]),
}


@pytest.mark.parametrize("task", Task)
def test_metrics_are_those_of_the_task_and_lie_in_their_intervals(task):
    row = summary(task)
    assert row.metrics == pytest.approx(EXPECTED[task])
    assert row.intervals.keys() == row.metrics.keys()
    for name, (low, high) in row.intervals.items():
        assert low <= row.metrics[name] <= high
        assert low < high, name


@pytest.mark.parametrize("task", Task)
def test_the_first_row_is_compared_with_nothing_and_the_others_with_it(task):
    assert summary(task).p_values is None
    worse = PREDICTIONS[task][::-1].copy()
    same, other = summary(task, reference=PREDICTIONS[task]), summary(task, worse, reference=PREDICTIONS[task])
    assert set(same.p_values.values()) == {1.0}
    assert other.p_values.keys() == other.metrics.keys()
    assert all(0 < p <= 1 for p in other.p_values.values())


def test_predictions_that_are_far_better_differ_by_more_than_chance():
    perfect = np.ones(SIZE, dtype=np.int64)
    row = summary(Task.NIP, perfect, reference=PREDICTIONS[Task.NIP])
    assert max(row.p_values.values()) < 0.05


@pytest.mark.parametrize("task", Task)
def test_equal_seeds_give_equal_rows(task):
    first, again = (summary(task, reference=PREDICTIONS[task][::-1].copy(), seed=4) for _ in range(2))
    assert first == again


class TestThresholds:
    """A model says yes above its own threshold."""

    @pytest.mark.parametrize("threshold", [0.1, 0.25, 0.5])
    def test_the_decision_is_probability_above_threshold(self, threshold):
        labels, probabilities = TARGETS[Task.PIP], PREDICTIONS[Task.PIP]
        row = summary(Task.PIP, threshold=threshold)
        assert row.metrics == pytest.approx(purchase_metrics(labels, probabilities, threshold))

    def test_auroc_does_not_depend_on_it(self):
        assert summary(Task.PIP, threshold=0.1).metrics["auroc"] == summary(Task.PIP).metrics["auroc"]

    def test_a_model_that_differs_by_its_scale_alone_does_not_differ(self):
        share, probabilities = 0.1, PREDICTIONS[Task.PIP].astype(np.float64)
        odds = probabilities / (1 - probabilities) * share / (1 - share)
        world = odds / (1 + odds)  # where purchases are as rare as `share`
        row = summary(Task.PIP, world, threshold=share, reference=probabilities)
        assert row.metrics == pytest.approx(summary(Task.PIP).metrics)
        assert set(row.p_values.values()) == {1.0}

    @given(st.floats(0.01, 0.99), st.lists(st.floats(0, 1), min_size=1, max_size=20))
    def test_centring_keeps_order_ends_and_decisions(self, threshold, values):
        probabilities = np.sort(np.array([0.0, *values, 1.0]))
        centred = _comparable(Task.PIP, probabilities, threshold)
        assert np.all(np.diff(centred) >= 0)
        assert (centred[0], centred[-1]) == (0.0, 1.0)
        clear = np.abs(probabilities - threshold) > 1e-9
        assert ((centred > 0.5) == (probabilities > threshold))[clear].all()

    def test_ranks_and_lengths_have_none(self):
        ranks, lengths = PREDICTIONS[Task.NIP], PREDICTIONS[Task.RLP]
        assert _comparable(Task.NIP, ranks, 0.1) is ranks
        assert np.array_equal(_comparable(Task.RLP, lengths, 0.1), np.stack([lengths] * 3, axis=1))


class TestBands:
    def test_they_partition_the_examples_by_how_often_training_saw_the_target(self):
        bands = summary(Task.NIP).bands
        seen = COUNTS[TARGETS[Task.NIP]]
        assert [band.label for band in bands] == ["0", "1-4", "50-99", "100+"]
        assert [band.examples for band in bands] == [int(np.sum(seen == count)) for count in (0, 3, 60, 200)]
        assert sum(band.examples for band in bands) == SIZE
        assert bands[1].metrics == measure(Task.NIP, TARGETS[Task.NIP][seen == 3], PREDICTIONS[Task.NIP][seen == 3])

    @pytest.mark.parametrize("task", [Task.PIP, Task.RLP])
    def test_other_tasks_have_none(self, task):
        assert summary(task).bands == ()


@pytest.mark.parametrize("task", Task)
def test_a_row_for_json_is_rounded(task):
    row = summary(task, reference=PREDICTIONS[task][::-1].copy())
    document = json.loads(json.dumps(row.to_dict()))
    assert document.keys() == {"row", "metrics", "p_values", "bands"}
    assert document["row"] == "it"
    assert document["metrics"].keys() == row.metrics.keys()
    values = [*document["p_values"].values()]
    for name, metric in document["metrics"].items():
        assert metric["value"] == pytest.approx(row.metrics[name], abs=ROUNDED)
        assert (metric["low"], metric["high"]) == pytest.approx(row.intervals[name], abs=ROUNDED)
        values.extend(metric.values())
    values.extend(value for band in document["bands"] for value in band["metrics"].values())
    assert values == [round(figure, 4) for figure in values]
    assert sum(band["examples"] for band in document["bands"]) == (SIZE if task is Task.NIP else 0)


def test_a_first_row_for_json_has_no_p_values():
    assert summary(Task.RLP).to_dict()["p_values"] is None
