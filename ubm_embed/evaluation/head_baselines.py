"""What counting alone predicts: baselines of purchase intention and remaining length that any model has to beat.

A logistic regression and small boosted trees over `session_features`, without a word of text.

Letters: E examples, F features.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ubm_embed.data.arrays import BoolArray, FloatArray
from ubm_embed.data.tasks.dataset import TaskDataset
from ubm_embed.data.tasks.examples import TaskExamples
from ubm_embed.data.tasks.session_features import session_features
from ubm_embed.data.tasks.task import Task
from ubm_embed.errors import InvalidData
from ubm_embed.model.counting_logit import LEAVES

LINEAR, TREES = "logistic regression on counts", "trees on counts"
# A session is cut at random, so that a few epochs of a small shop hold more than one; of a large shop one is enough.
_EPOCHS, _MAX_EXAMPLES = 4, 100_000
NUM_TREES = 150
_TREES = {
    "max_iter": NUM_TREES,
    "learning_rate": 0.05,
    "max_leaf_nodes": LEAVES,
    "min_samples_leaf": 40,
    "l2_regularization": 1.0,
    "early_stopping": False,
    "random_state": 0,
}


def count_baselines(dataset: TaskDataset, examples: TaskExamples, seed: int) -> Iterator[tuple[str, FloatArray, float]]:
    """The name, the predictions for E examples and the threshold of each baseline of the dataset's task.

    Lengths are [E, 3], as `length_metrics` takes them. There are none where training has too few examples.
    """
    try:
        cuts = training_cuts(dataset, np.random.default_rng([seed, 8]))
    except InvalidData:
        return
    features = np.concatenate([session_features(epoch.prefixes) for epoch in cuts])
    targets = np.concatenate([epoch.targets for epoch in cuts])
    asked = session_features(examples.prefixes)
    if dataset.task is Task.RLP:
        yield TREES, _lengths(features, targets, asked), 0.5
        return
    for name, probabilities in _probabilities(features, targets, asked):
        yield name, probabilities, float(targets.mean())


def linear_model() -> Pipeline:
    """A logistic regression, to be fitted."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def tree_model() -> HistGradientBoostingClassifier:
    """Small boosted trees, to be fitted."""
    return HistGradientBoostingClassifier(**_TREES)


def training_cuts(dataset: TaskDataset, rng: np.random.Generator) -> list[TaskExamples]:
    """The examples that counting learns from: the training part, cut a few times over.

    Raises:
        InvalidData: fewer than two, or one class only.
    """
    epochs = [dataset.unbalanced_training(rng)]
    while len(epochs) < _EPOCHS and (len(epochs) + 1) * len(epochs[0]) <= _MAX_EXAMPLES:
        epochs.append(dataset.unbalanced_training(rng))
    kept = rng.permutation(len(epochs[0]))[:_MAX_EXAMPLES]
    return [epoch.take(kept) for epoch in epochs]


def _probabilities(
    features: FloatArray, bought: BoolArray | NDArray[np.generic], asked: FloatArray
) -> Iterator[tuple[str, FloatArray]]:
    for name, model in ((LINEAR, linear_model()), (TREES, tree_model())):
        model.fit(features, bought)
        yield name, model.predict_proba(asked)[:, 1].astype(np.float32)


def _lengths(features: FloatArray, lengths: NDArray[np.generic], asked: FloatArray) -> FloatArray:
    """Trees for the mean, for the median, and for the mean on the logarithmic scale: [E, 3]."""
    actual = lengths.astype(np.float64)
    mean = HistGradientBoostingRegressor(**_TREES).fit(features, actual).predict(asked)
    median = HistGradientBoostingRegressor(loss="absolute_error", **_TREES).fit(features, actual).predict(asked)
    logarithm = HistGradientBoostingRegressor(**_TREES).fit(features, np.log1p(actual)).predict(asked)
    return np.stack([mean, median, np.expm1(logarithm)], axis=1).astype(np.float32)
