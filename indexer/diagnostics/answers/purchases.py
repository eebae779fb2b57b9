"""Whether probabilities of a purchase are true: what share of sessions with a probability of 0.3 end in a purchase?

Letters: E examples.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from indexer.diagnostics.answers.head_predictions import HeadPredictions, HeadReport
from indexer.diagnostics.bootstrapped import bootstrapped_metrics
from indexer.diagnostics.finding import Fault, Finding, Severity
from indexer.diagnostics.report import Better, Chart, ChartKind, Metric
from indexer.diagnostics.settings import DiagnosisSettings
from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray
from ubm_embed.evaluation.calibration import (
    auc,
    brier_score,
    calibration_error_by_chance,
    equal_mass_bins,
    expected_calibration_error,
    logistic_recalibration,
)
from ubm_embed.evaluation.proportions import wilson_interval
from ubm_embed.wording import percent

# At a slope of 0.8 a probability of 0.9 is truly 0.85, which no shop would notice; at 0.5 it is 0.75. The whole
# interval must lie below, so that a good head is not named by chance.
_MIN_SLOPE = 0.8
# As a share of the rarer outcome's: the interval of the error must lie beyond it, as for lengths. Later sessions may
# end in somewhat more or fewer purchases without anybody's fault.
_MAX_BIAS = 0.2
_CHANCE = 0.5  # the AUC of a coin
# Ten of the rarer outcome for each of the two coefficients (Peduzzi et al. 1996); of fewer nothing can be said.
_MIN_OF_EACH = 20


def purchase_report(predictions: HeadPredictions, settings: DiagnosisSettings) -> HeadReport:
    """Metrics, the reliability curve, and whether the head is over-confident."""
    probabilities, labels = predictions.values, predictions.outcomes.astype(bool)
    rarer = int(min(labels.sum(), (~labels).sum()))
    chart = _chart(probabilities, labels)
    if rarer < _MIN_OF_EACH:
        note = f"only {rarer} of {labels.size:,} sessions have the rarer outcome: too few to judge probabilities by"
        return HeadReport(charts=(chart,), notes=(note,))
    metrics = tuple(_metrics(probabilities, labels, settings))
    return HeadReport(metrics=metrics, charts=(chart,), findings=tuple(_findings(metrics, float(labels.mean()))))


def _metrics(probabilities: FloatArray, labels: BoolArray, settings: DiagnosisSettings) -> Iterator[Metric]:
    def measure(drawn: IntArray) -> dict[str, float]:
        predicted, actual = probabilities[drawn], labels[drawn]
        return {
            "calibration_slope": logistic_recalibration(predicted, actual)[1],
            "probability_error": float(predicted.mean(dtype=np.float64) - actual.mean()),
            "brier_score": brier_score(predicted, actual),
            "purchase_auc": auc(predicted, actual),
        }

    measured_on = f"{labels.size:,} sessions, {int(labels.sum()):,} with a purchase"
    yield _calibration_error(probabilities, labels, measured_on, settings)
    yield from bootstrapped_metrics(
        measure, labels.size, _MEANINGS, measured_on, rounds=settings.rounds, seed=settings.seed
    )


def _calibration_error(
    probabilities: FloatArray, labels: BoolArray, measured_on: str, settings: DiagnosisSettings
) -> Metric:
    """Without an interval, but with what chance makes of it."""
    by_chance = calibration_error_by_chance(probabilities, rounds=settings.rounds, seed=settings.seed)
    return Metric(
        name="calibration_error",
        value=expected_calibration_error(probabilities, labels),
        measured_on=measured_on,
        better=Better.LOWER,
        meaning="expected calibration error: mean distance between the predicted and the observed share of purchases "
        f"over ten groups of sessions; up to {by_chance:.3f} by chance alone",
    )


_MEANINGS: dict[str, tuple[Better | None, str]] = {
    "calibration_slope": (
        None,
        "1 is right; below, probabilities are too near 0 and 1, above, too near the mean (logistic recalibration)",
    ),
    "probability_error": (None, "mean probability less the share of purchases: 0 is right, above it is too high"),
    "brier_score": (Better.LOWER, "mean squared distance of probability and outcome"),
    "purchase_auc": (
        Better.HIGHER,
        "how often a session with a purchase gets a higher probability than one without: 0.5 is chance",
    ),
}


def _chart(probabilities: FloatArray, labels: BoolArray) -> Chart:
    rows = []
    for part in equal_mass_bins(probabilities, labels):
        low, high = wilson_interval(round(part.observed * part.count), part.count)
        rows.append(
            {
                "name": "purchase",
                "predicted": part.predicted,
                "observed": part.observed,
                "count": part.count,
                "low": low,
                "high": high,
            }
        )
    return Chart(
        name="purchase_reliability",
        kind=ChartKind.RELIABILITY,
        title="Predicted probability of a purchase, and the share of sessions with one",
        x="predicted probability",
        y="share with a purchase",
        rows=rows,
        good="all points on the diagonal, as far as their intervals tell",
        remedy="use the ranking of sessions rather than their probabilities, and fine-tune the head again",
    )


def _findings(metrics: tuple[Metric, ...], purchases: float) -> Iterator[Finding]:
    by_name = {metric.name: metric for metric in metrics}
    extreme = [*_overconfident(by_name["calibration_slope"], by_name["purchase_auc"])]
    yield from extreme
    if not extreme:  # which moves their mean as well
        yield from _biased(by_name["probability_error"], purchases)


def _overconfident(slope: Metric, auc_metric: Metric) -> Iterator[Finding]:
    assert slope.interval is not None
    assert auc_metric.interval is not None
    low, high = slope.interval
    if high >= _MIN_SLOPE:
        return
    if auc_metric.interval[0] > _CHANCE:
        seen = f"their logits would be right if multiplied by {slope.value:.2f} ({low:.2f} to {high:.2f})"
    else:
        seen = f"they say nothing of who buys, at an AUC of {auc_metric.value:.2f}"
    yield Finding(
        Fault.OVERCONFIDENT,
        Severity.WARNING,
        "calibration",
        f"probabilities of a purchase are too extreme: {seen}",
        "fine-tune the head again, with fewer steps or on more sessions: `ubm-embed finetune pip`; until then, trust "
        "the order of sessions rather than their probabilities",
    )


def _biased(error: Metric, purchases: float) -> Iterator[Finding]:
    """Whether they are too high or too low as a whole: true probabilities have the mean that purchases have."""
    assert error.interval is not None
    low, high = error.interval
    limit = _MAX_BIAS * min(purchases, 1 - purchases)
    if low > limit or high < -limit:
        direction = "high" if error.value > 0 else "low"
        yield Finding(
            Fault.BIASED_PROBABILITIES,
            Severity.WARNING,
            "calibration",
            f"probabilities of a purchase are too {direction}: their mean is {purchases + error.value:.2f}, and "
            f"{percent(purchases)} of the sessions end in one",
            "fine-tune the head again on newer sessions: `ubm-embed finetune pip`; until then, trust the order of "
            "sessions rather than their probabilities",
        )
