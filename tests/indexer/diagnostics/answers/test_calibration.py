"""Heads that are right get no warning; one that is too sure, and one whose lengths are off, are named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from indexer.diagnostics.answers.calibration import calibration_section
from indexer.diagnostics.answers.head_predictions import HeadPredictions
from indexer.diagnostics.answers.lengths import length_report
from indexer.diagnostics.answers.purchases import purchase_report
from indexer.diagnostics.finding import Fault
from indexer.diagnostics.settings import DiagnosisSettings
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.tasks.task import Task
from ubm_embed.errors import InvalidData
from ubm_embed.inference.predictor import Predictor
from ubm_embed.model.folder import ModelFolder

SETTINGS = DiagnosisSettings(rounds=40)


def purchases(slope=1.0, size=800, shift=-1.0):
    """A head whose logits are `1 / slope` times what they should be."""
    rng = np.random.default_rng(3)
    logits = rng.normal(shift, 1.2, size)
    bought = rng.random(size) < 1 / (1 + np.exp(-logits))
    probabilities = (1 / (1 + np.exp(-logits / slope))).astype(np.float32)
    return HeadPredictions(Task.PIP, probabilities, bought, None)


def lengths(factor=1.0, size=400):
    """A head whose lengths are `factor` times what they should be."""
    rng = np.random.default_rng(3)
    means = rng.uniform(1, 15, size)
    return HeadPredictions(Task.RLP, (factor * means).astype(np.float32), 1 + rng.poisson(means - 1), None)


def metric(report, name):
    return next(metric for metric in report.metrics if metric.name == name)


class TestPurchases:
    def test_a_calibrated_head_is_healthy(self):
        report = purchase_report(purchases(), SETTINGS)
        assert report.findings == ()
        # Its standard error is 0.07 of so many.
        assert metric(report, "calibration_slope").value == pytest.approx(1, abs=0.2)
        (chart,) = report.charts
        assert sum(row["count"] for row in chart.rows) == 800
        assert all(row["low"] <= row["observed"] <= row["high"] for row in chart.rows)

    def test_one_that_is_too_sure_is_named(self):
        report = purchase_report(purchases(slope=0.4), SETTINGS)
        assert [finding.fault for finding in report.findings] == [Fault.OVERCONFIDENT]
        assert metric(report, "calibration_slope").value == pytest.approx(0.4, abs=0.1)

    @pytest.mark.parametrize(("shift", "word"), [(1.0, "too high"), (-1.0, "too low")])
    def test_one_that_is_too_high_or_too_low_is_named(self, shift, word):
        head = purchases()
        odds = head.values / (1 - head.values) * np.exp(shift)
        (finding,) = purchase_report(replace(head, values=(odds / (1 + odds)).astype(np.float32)), SETTINGS).findings
        assert finding.fault is Fault.BIASED_PROBABILITIES
        assert word in finding.problem

    def test_one_that_says_the_same_of_all_is_said_to_say_nothing(self):
        head = purchases()
        same = replace(head, values=np.full_like(head.values, 0.2))
        assert all("multiplied" not in finding.problem for finding in purchase_report(same, SETTINGS).findings)

    def test_one_that_is_too_timid_is_not(self):
        assert purchase_report(purchases(slope=2.5), SETTINGS).findings == ()

    def test_few_purchases_give_no_verdict(self):
        report = purchase_report(purchases(slope=0.4, size=150, shift=-4.0), SETTINGS)
        assert (report.metrics, report.findings) == ((), ())
        assert "too few to judge" in report.notes[0]

    def test_not_many_purchases_give_a_wide_interval(self):
        report = purchase_report(purchases(slope=0.8, size=200), SETTINGS)
        low, high = metric(report, "calibration_slope").interval
        assert high - low > 0.3
        assert report.findings == ()


class TestLengths:
    def test_a_head_that_is_right_on_average_is_healthy(self):
        report = length_report(lengths(), SETTINGS)
        assert report.findings == ()
        low, high = metric(report, "length_error").interval
        assert low < 0 < high

    def test_its_error_stands_beside_that_of_a_constant(self):
        predictions = lengths()
        outcomes = predictions.outcomes
        of_median = np.abs(outcomes - np.median(outcomes)).mean()
        assert f"{of_median:.1f} if every session" in metric(length_report(predictions, SETTINGS), "length_mae").meaning

    @pytest.mark.parametrize(("factor", "word"), [(1.6, "too long"), (0.5, "too short")])
    def test_one_whose_lengths_are_off_is_named(self, factor, word):
        (finding,) = length_report(lengths(factor), SETTINGS).findings
        assert finding.fault is Fault.BIASED_LENGTHS
        assert word in finding.problem

    def test_a_small_error_is_no_fault(self):
        assert length_report(lengths(1.1), SETTINGS).findings == ()

    def test_few_sessions_give_no_verdict(self):
        report = length_report(lengths(3.0, size=15), SETTINGS)
        assert (report.metrics, report.findings) == ((), ())


@pytest.fixture
def corpus(products):
    """Sixty sessions of eight interactions, every other one with a purchase at the end."""
    rng = np.random.default_rng(0)
    rows = [
        (f"s{session}", position, "buy" if position == 7 and session % 2 else "view", f"p{rng.integers(1, 9)}")
        for session in range(60)
        for position in range(8)
    ]
    frame = pl.DataFrame(rows, schema=["session_id", "position", "action", "product_id"], orient="row")
    return Corpus(products, frame.with_columns(query=pl.lit(None, pl.String)))


def test_heads_are_measured_on_a_corpus(task_folders, corpus):
    models = [ModelFolder.open(folder) for folder in task_folders.values()]
    section = calibration_section(models, corpus, SETTINGS)
    names = {metric.name for metric in section.metrics}
    assert names == {
        "calibration_error",
        "calibration_slope",
        "probability_error",
        "brier_score",
        "purchase_auc",
        "length_error",
        "length_mae",
    }
    assert {chart.name for chart in section.charts} == {"purchase_reliability", "length_reliability"}
    assert "training may have read these sessions" in " ".join(section.notes)


def test_a_corpus_without_the_task_is_said_to_have_none(task_folders, corpus):
    without = Corpus(corpus.products, corpus.interactions.with_columns(action=pl.lit("view")))
    section = calibration_section([ModelFolder.open(task_folders[Task.PIP])], without, SETTINGS)
    assert section.metrics == ()
    assert "pip could not be measured: all 60 sessions" in section.notes[0]


def test_a_damaged_head_is_refused(task_folders, corpus, monkeypatch):
    monkeypatch.setattr(Predictor, "predict_table", lambda self, texts, prefixes: np.full(len(prefixes), np.nan))
    with pytest.raises(InvalidData, match="no number"):
        calibration_section([ModelFolder.open(task_folders[Task.PIP])], corpus, SETTINGS)


def test_two_models_for_one_task_are_refused(task_folders, corpus):
    model = ModelFolder.open(task_folders[Task.RLP])
    with pytest.raises(ValueError, match="one model for each task"):
        calibration_section([model, model], corpus, SETTINGS)


def test_a_model_without_a_head_is_refused(model_folder, corpus):
    with pytest.raises(InvalidData, match="no head"):
        calibration_section([ModelFolder.open(model_folder)], corpus, SETTINGS)
