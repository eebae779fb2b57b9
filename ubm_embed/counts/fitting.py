"""The weights of counts that make the next products of held-out sessions most likely, beside the cosines of a model.

Letters: E examples, M products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from ubm_embed.counts.counting import TransitionCounter
from ubm_embed.counts.held_out_scores import TEMPERATURES, Cosines, Floats, HeldOutScores
from ubm_embed.counts.ranking_weights import CountWeights, seen_bins
from ubm_embed.counts.session_counts import SessionCounts
from ubm_embed.data.arrays import evenly_spaced
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.tasks.examples import TaskExamples
from ubm_embed.progress import Progress, silent

# What is tried one at a time, each with weights fitted for it.
_CHOICES: dict[str, tuple[float, ...]] = {
    "backward": (0.0, 0.1, 0.5, 1.0),
    "decay": (0.3, 0.45, 0.8),
    "softening": (0.0, 0.6),
}
_NUM_CHOICES = sum(map(len, _CHOICES.values()))
_WHAT = "fitting the weights of counts"
# Examples that are looked at; of a large catalogue fewer, for the cosines.
_MAX_EXAMPLES, _MIN_EXAMPLES, _MAX_COSINES = 1024, 200, 1 << 29
# Standard deviations of the priors, in units of the temperature: of a bin's weight from that of the bin before it, of
# the first one from its default, and of the logarithm of the scale.
_STEP, _LEVEL, _SCALE = 0.3, 1.0, 1.0
_LEVEL_MEAN = 2.0


def fit_count_weights(
    cosines: Cosines,
    examples: TaskExamples,
    training: SessionTable,
    products: int,
    *,
    repeats: bool = False,
    progress: Progress = silent,
) -> CountWeights:
    """The weights with the highest posterior: the likelihood of the examples' targets among all M products.

    Few examples leave the defaults nearly as they are: a prior ties each weight to that of the bin before it.

    Args:
        cosines: of sessions with all products: [E] -> [E, M].
        examples: of sessions, or of parts of them, that `training` does not hold.
        training: what is counted.
        repeats: whether products that a session holds already are candidates.
        progress: is told how many settings were tried.
    """
    limit = min(_MAX_EXAMPLES, max(_MIN_EXAMPLES, _MAX_COSINES // max(products, 1)))
    examples = examples.take(evenly_spaced(len(examples), limit))
    counter = TransitionCounter(products).add(training)
    bins = seen_bins(counter.seen)

    def counted(weights: CountWeights) -> SessionCounts:
        return SessionCounts(counter.finish(weights=weights), bins, weights)

    scores = HeldOutScores.gather(cosines, examples, counted(CountWeights(backward=1.0)), repeats=repeats)
    trials = [(CountWeights(), one) for one in TEMPERATURES]
    fits = []
    for number, (weights, temperature) in enumerate(trials, 1):
        fits.append(_fit(scores, counted(weights), temperature))
        progress(_WHAT, number, len(trials) + _NUM_CHOICES)
    best = min(fits, key=lambda fit: fit.loss)
    tried = len(trials)
    for field, values in _CHOICES.items():
        for value in values:
            fits.append(_fit(scores, counted(best.weights.replace(**{field: value})), best.temperature))
            tried += 1
            progress(_WHAT, tried, len(trials) + _NUM_CHOICES)
        best = min(fits, key=lambda fit: fit.loss)
    return best.weights


@dataclass(frozen=True)
class _Fit:
    """Fitted weights, their negative log posterior, and the temperature of the cosines that they were fitted for."""

    weights: CountWeights
    loss: float
    temperature: float


def _fit(scores: HeldOutScores, counts: SessionCounts, temperature: float) -> _Fit:
    """Fit the scale and the weight of each bin."""
    sums, bins = scores.sums_of(counts), counts.seen[scores.pattern.indices]
    levels = 1 + int(counts.seen.max(initial=0))
    start = np.append(np.full(levels, _LEVEL_MEAN), 0.0)
    bounds = [(0.0, 20.0)] * levels + [(-4.0, 4.0)]

    def loss(parameters: Floats) -> tuple[float, Floats]:
        weights, scale = parameters[:-1], np.exp(parameters[-1])
        logarithms, slopes = np.log1p(scale * sums), scale * sums / (1 + scale * sums)
        value, errors = scores.loss(weights[bins] * logarithms, temperature)
        by_bin = np.bincount(bins, errors * logarithms, minlength=levels)
        penalty, gradient = _prior(parameters)
        return value + penalty, gradient + np.append(by_bin, float(np.sum(errors * weights[bins] * slopes)))

    options = {"maxiter": 40, "ftol": 1e-5}  # a hundredth of a nat of a thousand examples
    result = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    by_seen = tuple(round(float(weight) * temperature, 5) for weight in result.x[:-1])
    weights = counts.weights.replace(by_seen=by_seen, scale=round(float(np.exp(result.x[-1])), 5))
    return _Fit(weights, float(result.fun), temperature)


def _prior(parameters: Floats) -> tuple[float, Floats]:
    """The negative logarithm of the prior, and its gradient."""
    weights, log_scale = parameters[:-1], parameters[-1]
    steps, level = np.diff(weights) / _STEP, (weights[0] - _LEVEL_MEAN) / _LEVEL
    gradient = np.zeros_like(parameters)
    gradient[1:-1] += steps / _STEP
    gradient[:-2] -= steps / _STEP
    gradient[0] += level / _LEVEL
    gradient[-1] = log_scale / _SCALE**2
    return float(steps @ steps + level**2 + (log_scale / _SCALE) ** 2) / 2, gradient
