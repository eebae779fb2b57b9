"""Whether predictions can be taken at their word: what is predicted against what came of it.

Letters: E examples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import BoolArray, FloatArray

# A probability of 0 or 1 in float32 has no finite logit; further out than this none can be told from its neighbours.
_MIN_PROBABILITY = 1e-7
# Too far for any real head, where a fit of separable classes would run on to infinity.
_C = 1e6


@dataclass(frozen=True)
class CalibrationBin:
    """Examples of about equal predictions.

    Attributes:
        predicted, observed: their means.
        count: how many.
        deviation: standard deviation of what was observed.
    """

    predicted: float
    observed: float
    count: int
    deviation: float


def equal_mass_bins(
    predictions: NDArray[np.floating], outcomes: NDArray[np.generic], bins: int = 10
) -> list[CalibrationBin]:
    """Examples in ascending order of their predictions, cut into parts of equal size (Nguyen and O'Connor 2015).

    Equal predictions may stand in two parts: these are then all the same, and so is their mean.

    Args:
        predictions, outcomes: [E], of at least one example.
    """
    order = np.argsort(predictions, kind="stable")
    parts = np.array_split(order, min(bins, order.size))
    actual = np.asarray(outcomes, np.float64)
    return [
        CalibrationBin(
            float(predictions[part].mean(dtype=np.float64)),
            float(actual[part].mean()),
            part.size,
            float(actual[part].std()),
        )
        for part in parts
    ]


def expected_calibration_error(probabilities: FloatArray, labels: BoolArray, bins: int = 10) -> float:
    """The mean distance of predicted and observed share over bins, by their size (Guo et al. 2017, equation 3).

    With bins of equal mass, since a shop's probabilities crowd near 0. Chance alone makes it positive for a
    calibrated head: `calibration_error_by_chance`.
    """
    parts = equal_mass_bins(probabilities, labels, bins)
    return sum(part.count * abs(part.predicted - part.observed) for part in parts) / labels.size


def calibration_error_by_chance(probabilities: FloatArray, *, rounds: int, seed: int, level: float = 0.95) -> float:
    """What `expected_calibration_error` stays below, at this level, if the probabilities are true.

    Outcomes are drawn by them (consistency resampling, Bröcker and Smith 2007, "Increasing the reliability of
    reliability diagrams"). A bootstrap of the error has no such answer: each resample adds noise to that of the sample,
    so that the interval of a calibrated head hardly ever reaches 0.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.random((rounds, probabilities.size)) < probabilities
    return float(np.quantile([expected_calibration_error(probabilities, outcomes) for outcomes in drawn], level))


def brier_score(probabilities: FloatArray, labels: BoolArray) -> float:
    """Mean squared distance of probability and outcome (Brier 1950)."""
    return float(np.square(probabilities.astype(np.float64) - labels).mean())


def auc(probabilities: FloatArray, labels: BoolArray) -> float:
    """Area under the ROC curve.

    Raises:
        ValueError: all labels are the same.
    """
    from sklearn.metrics import roc_auc_score  # inside: a diagnosis without heads does not need it

    _require_both(labels)
    return float(roc_auc_score(labels, probabilities))


def logistic_recalibration(probabilities: FloatArray, labels: BoolArray) -> tuple[float, float]:
    """Intercept and slope of the logistic regression of outcomes on logits (Cox 1958): 0 and 1 if calibrated.

    A slope below 1 means that probabilities are too extreme, one above 1 that they are too timid; an intercept above 0
    that they are too low.

    Raises:
        ValueError: all labels are the same.
    """
    from sklearn.linear_model import LogisticRegression

    _require_both(labels)
    clipped = np.clip(probabilities.astype(np.float64), _MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
    logits = np.log(clipped / (1 - clipped))
    fit = LogisticRegression(C=_C, tol=1e-6).fit(logits[:, None], labels)
    return float(fit.intercept_[0]), float(fit.coef_[0, 0])


def _require_both(labels: BoolArray) -> None:
    if labels.all() or not labels.any():
        raise ValueError("expected examples of both outcomes")
