"""The metrics of purchase intention and remaining length (paper 4.1.2), and which way those of all tasks improve.

Letters: E examples.
"""

from __future__ import annotations

import re

import numpy as np
from sklearn.metrics import mean_absolute_error, mean_squared_error, mean_squared_log_error, r2_score

from ubm_embed.data.arrays import BoolArray, FloatArray
from ubm_embed.evaluation.ranking import CUTOFFS

_AT_K = re.compile(r"(hit|mrr|ndcg)@[1-9][0-9]*")

# Every metric that the functions here return by default; `higher_is_better` knows those at k for other k too.
HIGHER_IS_BETTER: dict[str, bool] = {
    **dict.fromkeys(("accuracy", "auroc", "f1", "kappa"), True),
    **dict.fromkeys(("mae", "mse", "msle"), False),
    "r2": True,
    **{f"{name}@{k}": True for k in CUTOFFS for name in ("hit", "mrr", "ndcg")},
}

_LABELS = {
    "mrr": "MRR",
    "ndcg": "NDCG",
    "auroc": "AUROC",
    "f1": "F1",
    "mae": "MAE",
    "mse": "MSE",
    "msle": "MSLE",
    "r2": "R²",
}


def metric_label(metric: str) -> str:
    """A metric's name for people: MRR@10 for "mrr@10"."""
    stem, at, k = metric.partition("@")
    return _LABELS.get(stem, stem) + at + k


def higher_is_better(metric: str) -> bool:
    """Whether more of this metric is better, as against less.

    Raises:
        ValueError: no such metric.
    """
    if _AT_K.fullmatch(metric):
        return True
    if metric not in HIGHER_IS_BETTER:
        raise ValueError(
            f"unknown metric {metric!r}; expected hit@k, mrr@k, ndcg@k or one of {', '.join(HIGHER_IS_BETTER)}"
        )
    return HIGHER_IS_BETTER[metric]


def purchase_metrics(labels: BoolArray, probabilities: FloatArray, threshold: float = 0.5) -> dict[str, float]:
    """Purchase intention: accuracy, AUROC, F1 of the purchases and Cohen's kappa.

    F1 is 0 where no purchase is predicted, kappa is 0 where all predictions are the same.

    Args:
        labels: [E], whether the session ended in a purchase.
        probabilities: [E].
        threshold: a purchase is predicted above it, not at it, so that a constant 0.5 predicts no purchase.

    Raises:
        ValueError: all labels are the same, which leaves AUROC undefined, or a probability is NaN.
    """
    labels = np.asarray(labels, dtype=np.bool_)
    if labels.all() or not labels.any():
        problem = f"all {labels.size} labels are {bool(labels[0])}" if labels.size else "there are no labels"
        raise ValueError(f"AUROC needs sessions with and without a purchase, but {problem}")
    accuracy, f1, kappa = _agreement(labels, probabilities > threshold)
    return {"accuracy": accuracy, "auroc": area_under_roc(labels, probabilities), "f1": f1, "kappa": kappa}


def area_under_roc(labels: BoolArray, scores: FloatArray) -> float:
    """The fraction of pairs of a purchase and none in which the purchase scores higher; a tie counts half.

    Equal to scikit-learn's `roc_auc_score`, which takes over ten times as long, and bootstraps ask a thousand times.

    Args:
        labels: [E], some true and some false.
        scores: [E].

    Raises:
        ValueError: a score is NaN.
    """
    if np.isnan(scores).any():
        raise ValueError("a probability is NaN")
    bought, others = scores[labels], np.sort(scores[~labels])
    wins = sum(int(np.searchsorted(others, bought, side).sum()) for side in ("left", "right"))
    return wins / (2 * bought.size * others.size)


def _agreement(labels: BoolArray, predicted: BoolArray) -> tuple[float, float, float]:
    """Accuracy, F1 and kappa from the counts of the confusion matrix, of E labels of both kinds."""
    both, bought, foreseen = int((labels & predicted).sum()), int(labels.sum()), int(predicted.sum())
    size = labels.size
    accuracy = (size - bought - foreseen + 2 * both) / size
    by_chance = (bought * foreseen + (size - bought) * (size - foreseen)) / size**2
    return accuracy, 2 * both / (bought + foreseen), (accuracy - by_chance) / (1 - by_chance)


def length_metrics(lengths: FloatArray, predictions: FloatArray) -> dict[str, float]:
    """Remaining length: mean absolute, squared and squared logarithmic error, and R^2.

    Each error has a best guess of its own: the mean of what may come for MSE and R^2, the median for MAE, and for MSLE
    the mean on the logarithmic scale. A model that predicts a distribution gives all three.

    Only MSLE takes predictions below 0 as 0, for its logarithm. R^2 is 0 where all lengths are equal, as with a single
    example, whatever the predictions: there is no variance to explain.

    Args:
        lengths: [E], 0 or more.
        predictions: [E]; or [E, 3], those three guesses in this order.

    Raises:
        ValueError: there are no examples, a length is below 0, or a prediction is NaN.
    """
    actual = np.asarray(lengths, np.float64)
    if not actual.size:
        raise ValueError("there are no lengths to compare predictions with")
    if actual.min() < 0:
        raise ValueError(f"a remaining length is below 0: {actual.min():g}")
    mean, median, logarithmic = three_guesses(predictions).astype(np.float64).T
    return {
        "mae": float(mean_absolute_error(actual, median)),
        "mse": float(mean_squared_error(actual, mean)),
        "msle": float(mean_squared_log_error(actual, np.maximum(logarithmic, 0.0))),
        "r2": float(r2_score(actual, mean)) if np.ptp(actual) > 0 else 0.0,
    }


def three_guesses(predictions: FloatArray) -> FloatArray:
    """Predicted lengths as `length_metrics` takes them, [E, 3], from that or from one number each, [E]."""
    return predictions if predictions.ndim == 2 else np.repeat(predictions[:, None], 3, axis=1)
