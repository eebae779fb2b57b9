"""Whether predicted remaining lengths are right on average, over all and where they are short or long.

Letters: E examples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from indexer.diagnostics.answers.head_predictions import HeadPredictions, HeadReport
from indexer.diagnostics.bootstrapped import bootstrapped_metrics
from indexer.diagnostics.finding import Fault, Finding, Severity
from indexer.diagnostics.report import Better, Chart, ChartKind, Metric
from indexer.diagnostics.settings import DiagnosisSettings
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.evaluation.calibration import equal_mass_bins

# As a share of the mean length: the interval of the error must lie beyond it. A head minimises the squared error, so it
# is right on average where it was trained; later sessions may be somewhat longer or shorter without anybody's fault.
_MAX_BIAS = 0.2
_MIN_EXAMPLES = 20
_Z = 1.96
_AGAIN = "fine-tune the head again on newer sessions: `ubm-embed finetune rlp --model DIR --corpus DIR --out DIR`"


def length_report(predictions: HeadPredictions, settings: DiagnosisSettings) -> HeadReport:
    """Metrics, the calibration curve, and whether lengths are biased."""
    predicted, lengths = predictions.values, predictions.outcomes
    chart = _chart(predicted, lengths)
    if lengths.size < _MIN_EXAMPLES:
        note = f"only {lengths.size} sessions are long enough: too few to judge predicted lengths by"
        return HeadReport(charts=(chart,), notes=(note,))
    metrics = tuple(_metrics(predicted, lengths, settings))
    findings = tuple(_findings(metrics[0], float(lengths.mean())))
    return HeadReport(metrics=metrics, charts=(chart,), findings=findings)


def _metrics(predicted: FloatArray, lengths: IntArray, settings: DiagnosisSettings) -> Iterator[Metric]:
    errors = predicted.astype(np.float64) - lengths

    def measure(drawn: IntArray) -> dict[str, float]:
        return {"length_error": float(errors[drawn].mean()), "length_mae": float(np.abs(errors[drawn]).mean())}

    # The constant with the least absolute error: what a head must beat to be of use.
    of_median = float(np.abs(lengths - np.median(lengths)).mean())
    meanings: dict[str, tuple[Better | None, str]] = {
        "length_error": (
            None,
            "predicted less actual interactions still to come, on average: 0 is right; the mean is "
            f"{lengths.mean():.1f}",
        ),
        "length_mae": (
            Better.LOWER,
            f"mean absolute error of the interactions still to come; {of_median:.1f} if every session got their median",
        ),
    }
    yield from bootstrapped_metrics(
        measure,
        errors.size,
        meanings,
        f"{errors.size:,} sessions",
        rounds=settings.rounds,
        seed=settings.seed,
    )


def _chart(predicted: FloatArray, lengths: IntArray) -> Chart:
    rows = []
    for part in equal_mass_bins(predicted, lengths):
        half = _Z * part.deviation / math.sqrt(part.count)
        rows.append(
            {
                "name": "length",
                "predicted": part.predicted,
                "observed": part.observed,
                "count": part.count,
                "low": part.observed - half,
                "high": part.observed + half,
            }
        )
    return Chart(
        name="length_reliability",
        kind=ChartKind.RELIABILITY,
        title="Predicted interactions still to come, and how many came",
        x="predicted",
        y="actual, on average",
        rows=rows,
        good="all points on the diagonal, as far as their intervals tell",
        remedy=_AGAIN,
    )


def _findings(error: Metric, mean: float) -> Iterator[Finding]:
    assert error.interval is not None
    low, high = error.interval
    if low > _MAX_BIAS * mean or high < -_MAX_BIAS * mean:
        direction = "long" if error.value > 0 else "short"
        yield Finding(
            Fault.BIASED_LENGTHS,
            Severity.WARNING,
            "calibration",
            f"predicted remaining lengths are too {direction} by {abs(error.value):.1f} interactions on average, of "
            f"{mean:.1f}",
            _AGAIN,
        )
