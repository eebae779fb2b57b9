"""Whether a classifier can tell two sets of vectors apart: the classifier two-sample test.

Letters: N pairs, D width.
"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from ubm_embed.data.arrays import FloatArray

_FOLDS = 5


def paired_separability(before: FloatArray, after: FloatArray, *, seed: int) -> float:
    """How well logistic regression tells the second vectors of N pairs from the first: 0.5 if it cannot, 1 if always.

    The classifier two-sample test (Lopez-Paz and Oquab 2017, "Revisiting classifier two-sample tests"), cross-validated
    with both vectors of a pair in one fold: otherwise it would know a vector's twin, and tell them apart by that. The
    area under the ROC curve instead of their accuracy needs no threshold. It has no interval: a bootstrap of the scores
    leaves out that another sample would give another classifier, and held 0.5 in as few as 70% of null cases.

    Args:
        before, after: [N, D] each.

    Raises:
        ValueError: fewer than 5 pairs, or the shapes differ.
    """
    if before.shape != after.shape or len(before) < _FOLDS:
        raise ValueError(f"expected two [N, D] of {_FOLDS} pairs or more, got {before.shape} and {after.shape}")
    count = len(before)
    labels, pairs = np.repeat([0, 1], count), np.tile(np.arange(count), 2)
    # Unit vectors have components of about D ** -0.5, which the usual penalty would hold to too small weights.
    features = np.concatenate([before, after]).astype(np.float64) * np.sqrt(before.shape[1])
    folds = GroupKFold(_FOLDS, shuffle=True, random_state=seed)
    model = LogisticRegression(max_iter=200)
    scores = cross_val_predict(model, features, labels, groups=pairs, cv=folds, method="decision_function")
    return float(roc_auc_score(labels, scores))
