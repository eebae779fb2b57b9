"""A row of a table: its figures are those of the metric functions, whatever threshold a model has."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.tasks.examples import Asked, Examples, Task
from ubm_embed.data.tasks.questions import Questions
from ubm_embed.data.tasks.split import Parts
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.evaluation import judgement
from ubm_embed.evaluation.judgement import Judgement, _centred, measure
from ubm_embed.evaluation.task_metrics import length_metrics, purchase_metrics, ranking_metrics

COUNTS = np.array([0, 3, 3, 60, 200])
RNG = np.random.default_rng(3)
SIZE = 80
TARGETS = {
    Task.NIP: RNG.integers(5, size=SIZE),
    Task.PIP: RNG.random(SIZE) < 0.3,
    Task.RLP: RNG.integers(1, 20, size=SIZE),
}
ANSWERS = {
    Task.NIP: RNG.integers(1, 40, size=SIZE),
    Task.PIP: np.clip(TARGETS[Task.PIP] * 0.2 + 0.6 * RNG.random(SIZE), 0, 1).astype(np.float32),
    Task.RLP: (TARGETS[Task.RLP] + RNG.normal(size=SIZE)).astype(np.float32),
}


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
    monkeypatch.setattr(judgement, "_ROUNDS", {Task.NIP: 40, Task.PIP: 8, Task.RLP: 15})


def questions(task):
    """Of which only the task and the counts matter here."""
    none = SessionTable(np.empty(0, np.uint8), np.empty(0, np.int32), np.zeros(1, np.int64))
    corpus = TokenizedCorpus(TokenTable.from_rows([[1]] * 5), 5, none, np.empty(0, object))
    return Questions(task, corpus, Parts(none, Asked.whole(none), Asked.whole(none)), COUNTS)


def examples(task):
    """Each after one view."""
    views = SessionTable(np.ones(SIZE, np.uint8), np.zeros(SIZE, np.int32), np.arange(SIZE + 1))
    return Examples(views, TARGETS[task])


def judged(task, answers=None, **settings):
    return Judgement.of(
        "it", questions(task), examples(task), ANSWERS[task] if answers is None else answers, **settings
    )


EXPECTED = {
    Task.NIP: ranking_metrics(ANSWERS[Task.NIP]),
    Task.PIP: purchase_metrics(TARGETS[Task.PIP], ANSWERS[Task.PIP]),
    Task.RLP: length_metrics(TARGETS[Task.RLP], ANSWERS[Task.RLP]),
}


@pytest.mark.parametrize("task", Task)
def test_metrics_are_those_of_the_task_and_lie_in_their_intervals(task):
    row = judged(task)
    assert row.metrics == pytest.approx(EXPECTED[task])
    assert row.intervals.keys() == row.metrics.keys()
    for name, (low, high) in row.intervals.items():
        assert low <= row.metrics[name] <= high
        assert low < high, name


@pytest.mark.parametrize("task", Task)
def test_the_first_row_is_compared_with_nothing_and_the_others_with_it(task):
    assert judged(task).p_values is None
    worse = ANSWERS[task][::-1].copy()
    same, other = judged(task, against=ANSWERS[task]), judged(task, worse, against=ANSWERS[task])
    assert set(same.p_values.values()) == {1.0}
    assert other.p_values.keys() == other.metrics.keys()
    assert all(0 < p <= 1 for p in other.p_values.values())


def test_answers_that_are_better_by_far_differ_by_more_than_chance():
    perfect = np.ones(SIZE, dtype=np.int64)
    row = judged(Task.NIP, perfect, against=ANSWERS[Task.NIP])
    assert max(row.p_values.values()) < 0.05


@pytest.mark.parametrize("task", Task)
def test_equal_seeds_give_equal_rows(task):
    first, again = (judged(task, against=ANSWERS[task][::-1].copy(), seed=4) for _ in range(2))
    assert first == again


class TestThresholds:
    """A model says yes above its own threshold."""

    @pytest.mark.parametrize("threshold", [0.1, 0.25, 0.5])
    def test_the_decision_is_probability_above_threshold(self, threshold):
        labels, probabilities = TARGETS[Task.PIP], ANSWERS[Task.PIP]
        row = judged(Task.PIP, threshold=threshold)
        assert row.metrics == pytest.approx(purchase_metrics(labels, probabilities, threshold))

    def test_auroc_does_not_depend_on_it(self):
        assert judged(Task.PIP, threshold=0.1).metrics["auroc"] == judged(Task.PIP).metrics["auroc"]

    def test_a_model_that_differs_by_its_scale_alone_does_not_differ(self):
        share, probabilities = 0.1, ANSWERS[Task.PIP].astype(np.float64)
        odds = probabilities / (1 - probabilities) * share / (1 - share)
        world = odds / (1 + odds)  # where purchases are as rare as `share`
        row = judged(Task.PIP, world, threshold=share, against=probabilities)
        assert row.metrics == pytest.approx(judged(Task.PIP).metrics)
        assert set(row.p_values.values()) == {1.0}

    @given(st.floats(0.01, 0.99), st.lists(st.floats(0, 1), min_size=1, max_size=20))
    def test_centring_keeps_order_ends_and_decisions(self, threshold, values):
        probabilities = np.sort(np.array([0.0, *values, 1.0]))
        centred = _centred(Task.PIP, probabilities, threshold)
        assert np.all(np.diff(centred) >= 0)
        assert (centred[0], centred[-1]) == (0.0, 1.0)
        clear = np.abs(probabilities - threshold) > 1e-9
        assert ((centred > 0.5) == (probabilities > threshold))[clear].all()

    def test_ranks_and_lengths_have_none(self):
        for task in (Task.NIP, Task.RLP):
            assert _centred(task, ANSWERS[task], 0.1) is ANSWERS[task]


class TestBands:
    def test_they_partition_the_questions_by_how_often_training_saw_the_answer(self):
        bands = judged(Task.NIP).bands
        seen = COUNTS[TARGETS[Task.NIP]]
        assert [band.label for band in bands] == ["0", "1-4", "50-99", "100+"]
        assert [band.questions for band in bands] == [int(np.sum(seen == count)) for count in (0, 3, 60, 200)]
        assert sum(band.questions for band in bands) == SIZE
        assert bands[1].metrics == measure(Task.NIP, TARGETS[Task.NIP][seen == 3], ANSWERS[Task.NIP][seen == 3])

    @pytest.mark.parametrize("task", [Task.PIP, Task.RLP])
    def test_other_tasks_have_none(self, task):
        assert judged(task).bands == ()


@pytest.mark.parametrize("task", Task)
def test_a_row_for_json_is_rounded(task):
    row = judged(task, against=ANSWERS[task][::-1].copy())
    document = json.loads(json.dumps(row.to_dict()))
    assert document.keys() == {"row", "metrics", "p_values", "bands"}
    assert document["row"] == "it"
    assert document["metrics"].keys() == row.metrics.keys()
    figures = [*document["p_values"].values()]
    for name, metric in document["metrics"].items():
        assert metric["value"] == pytest.approx(row.metrics[name], abs=1e-4)
        assert (metric["low"], metric["high"]) == pytest.approx(row.intervals[name], abs=1e-4)
        figures.extend(metric.values())
    figures.extend(value for band in document["bands"] for value in band["metrics"].values())
    assert figures == [round(figure, 4) for figure in figures]
    assert sum(band["questions"] for band in document["bands"]) == (SIZE if task is Task.NIP else 0)


def test_a_first_row_for_json_has_no_p_values():
    assert judged(Task.RLP).to_dict()["p_values"] is None
