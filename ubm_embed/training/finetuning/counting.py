"""What counting says of a purchase, fitted for a head to start from: stacked, and cross-fitted for training.

A head that trained beside trees grown on the same sessions would trust them too much. So each training session is
counted by a model of the other sessions (Wolpert 1992, "Stacked generalization").

Letters: E examples, F features, S sessions, K folds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.tasks.dataset import TaskDataset
from ubm_embed.data.tasks.session_features import session_features
from ubm_embed.evaluation.head_baselines import NUM_TREES, linear_model, training_cuts, tree_model
from ubm_embed.model.counting_logit import CountingLogit

FOLDS = 5
# With fewer training sessions of either kind, counting is left out.
_MIN_SESSIONS = 10
# What the two models may weigh: no more than one together, and less where they promise too much.
_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
_HASH = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class _Fitted:
    """A logistic regression and trees of the same examples."""

    linear: Any
    trees: Any
    prior: float

    @classmethod
    def from_examples(cls, features: FloatArray, bought: BoolArray) -> _Fitted:
        """Both models of [E, F] and [E], which has both classes."""
        share = float(bought.mean())
        linear, trees = (model.fit(features, bought) for model in (linear_model(), tree_model()))
        return cls(linear, trees, float(np.log(share / (1 - share))))

    def moves(self, features: FloatArray) -> NDArray[np.float64]:
        """[E, 2] how far each moves the logit from that of everybody."""
        logits = [model.decision_function(features) for model in (self.linear, self.trees)]
        moved: NDArray[np.float64] = np.stack(logits, axis=1) - self.prior
        return moved

    def logit(self, weights: tuple[float, float]) -> CountingLogit:
        """Both together, with these weights."""
        scaler, regression = self.linear[0], self.linear[-1]
        counting = CountingLogit(scaler.mean_.size, NUM_TREES)
        slopes = regression.coef_[0] / scaler.scale_
        constants = (
            regression.intercept_[0] - slopes @ scaler.mean_,
            float(np.ravel(self.trees._baseline_prediction)[0]),
        )
        counting.weights.copy_(torch.from_numpy(weights[0] * slopes))
        counting.bias.fill_(float(np.dot(weights, np.subtract(constants, self.prior))))
        # There is no public way to read the trees; other libraries that convert them read the same attributes.
        for index, (tree,) in enumerate(self.trees._predictors):
            _copy_tree(counting, index, tree.nodes, weights[1])
        return counting


def fit_counting(dataset: TaskDataset, rng: np.random.Generator) -> tuple[CountingLogit, list[CountingLogit]] | None:
    """What counting says of a purchase, and for training one for each fold of sessions, fitted on the others.

    None where training has too few sessions with or without a purchase.

    Raises:
        InvalidData: as `TaskDataset.unbalanced_training`.
    """
    cuts = training_cuts(dataset, rng)
    sessions_with = int(cuts[0].targets.sum())
    if min(sessions_with, len(cuts[0]) - sessions_with) < _MIN_SESSIONS:
        return None
    features = np.concatenate([session_features(epoch.prefixes) for epoch in cuts])
    bought = np.concatenate([epoch.targets for epoch in cuts]).astype(bool)
    folds = np.concatenate([folds_of(epoch.prefixes, dataset.min_interactions) for epoch in cuts])
    others = [folds != fold for fold in range(FOLDS)]
    if any(bought[part].all() or not bought[part].any() for part in others):
        return None
    fitted = [_Fitted.from_examples(features[part], bought[part]) for part in others]
    moves, priors = np.zeros((bought.size, 2)), np.zeros(bought.size)
    for part, one in zip(others, fitted, strict=True):
        priors[~part] = one.prior
        if not part.all():
            moves[~part] = one.moves(features[~part])
    weights = _best_weights(moves, priors, bought)
    return _Fitted.from_examples(features, bought).logit(weights), [one.logit(weights) for one in fitted]


def folds_of(sessions: SessionTable, length: int) -> IntArray:
    """[S] the fold of each session, by its first `length` interactions: every prefix of that length or more shares it.

    Equal beginnings are in one fold, so that no copy of a session counts it.
    """
    keys = sessions.rows.astype(np.uint64) << np.uint64(3) | sessions.actions.astype(np.uint64)
    folds = np.zeros(len(sessions), np.uint64)
    for position in range(length):
        folds = (folds ^ keys[sessions.offsets[:-1] + position]) * _HASH
        folds ^= folds >> np.uint64(29)
    numbers: IntArray = (folds % np.uint64(FOLDS)).astype(np.int64)
    return numbers


def _best_weights(moves: NDArray[np.float64], priors: NDArray[np.float64], bought: BoolArray) -> tuple[float, float]:
    """The weights of the two models with the lowest cross entropy."""
    signs = np.where(bought, -1.0, 1.0)

    def loss(weights: tuple[float, float]) -> float:
        return float(np.logaddexp(0, signs * (priors + moves @ weights)).mean())

    return min(((one, other) for one, other in product(_WEIGHTS, repeat=2) if one + other <= 1), key=loss)


def _copy_tree(counting: CountingLogit, tree: int, nodes: Any, weight: float) -> None:
    """Write a tree's nodes, of which the first is the root, into row `tree` of the arrays."""
    splits = {node: index for index, node in enumerate(np.flatnonzero(nodes["is_leaf"] == 0).tolist())}
    leaves = 0
    ways: list[tuple[int, list[tuple[int, int]]]] = [(0, [])]
    while ways:
        node, way = ways.pop()
        if node in splits:
            split = splits[node]
            counting.columns[tree, split] = int(nodes["feature_idx"][node])
            counting.thresholds[tree, split] = float(nodes["num_threshold"][node])
            ways += [(int(nodes[side][node]), [*way, (split, sign)]) for side, sign in (("left", 1), ("right", -1))]
            continue
        for split, sign in way:
            counting.paths[tree, split, leaves] = sign
        counting.lefts[tree, leaves] = sum(sign > 0 for _, sign in way)
        counting.values[tree, leaves] = weight * float(nodes["value"][node])
        leaves += 1
