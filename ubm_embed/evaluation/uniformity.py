"""Alignment and uniformity of unit vectors (paper 4.6, after Wang and Isola 2020), and how sure they are.

Lower is better for both.

Letters: N vectors, D width, R resamples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import FloatArray, unit_rows

# Rows of the kernel matrix in memory at once.
_ROWS = 512
_ENDS = (0.025, 0.975)


def alignment(x: FloatArray, y: FloatArray) -> float:
    """E |f(x) - f(x+)|^2 over positive pairs: two [N, D], normalised here -> 0 to 4."""
    return float(_squared_distances(x, y).mean())


def uniformity(x: FloatArray) -> float:
    """log E exp(-2 |f(x) - f(z)|^2) over pairs of rows: [N, D], N >= 2, normalised here -> -8 to 0."""
    return float(_log_mean_kernels(x, np.ones((1, len(x))))[0])


def alignment_interval(x: FloatArray, y: FloatArray, *, rounds: int, seed: int) -> tuple[float, float]:
    """95% of `alignment` by a percentile bootstrap of the pairs."""
    return _quantiles(_resamples(len(x), rounds, seed) @ _squared_distances(x, y) / len(x))


def uniformity_interval(x: FloatArray, *, rounds: int, seed: int) -> tuple[float, float]:
    """95% of `uniformity` by a percentile bootstrap of the rows.

    Uniformity is a U-statistic: it is taken over pairs of different rows. A resample has some rows several times, and
    pairs of a row with itself, whose kernel is 1, would pull it towards 0, so they are left out of each resample (see
    Arcones and Gine 1992, on the bootstrap of U- and V-statistics).
    """
    return _quantiles(_log_mean_kernels(x, _resamples(len(x), rounds, seed)))


def _squared_distances(x: FloatArray, y: FloatArray) -> NDArray[np.float64]:
    distances: NDArray[np.float64] = np.square(_normalized(x) - _normalized(y)).sum(axis=1)
    return distances


def _log_mean_kernels(x: FloatArray, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The log of the mean kernel over pairs of different rows, each row taken `weights` times: [R, N] -> [R].

    With weights w and kernel matrix K: log((w' K w - sum w_i^2 K_ii) / ((sum w_i)^2 - sum w_i^2)).
    """
    unit = _normalized(x)
    sums = np.zeros(len(weights))
    for first in range(0, len(unit), _ROWS):
        part = slice(first, first + _ROWS)
        kernel = np.exp(4 * (unit[part] @ unit.T - 1))  # |a - b|^2 is 2 - 2 a.b of unit vectors
        kernel[np.arange(len(kernel)), np.arange(first, first + len(kernel))] = 0
        sums += np.einsum("rn,rn->r", weights @ kernel.T, weights[:, part])
    pairs = np.square(weights.sum(axis=1)) - np.square(weights).sum(axis=1)
    # A resample that is one row only has no pair.
    logs: NDArray[np.float64] = np.log(sums[pairs > 0] / pairs[pairs > 0])
    return logs


def _resamples(size: int, rounds: int, seed: int) -> NDArray[np.float64]:
    """How often each of `size` rows is in each resample: [R, N]."""
    drawn = np.random.default_rng([seed, 7]).multinomial(size, np.full(size, 1 / size), size=rounds)
    return drawn.astype(np.float64)


def _quantiles(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, _ENDS)
    return float(low), float(high)


def _normalized(vectors: FloatArray) -> NDArray[np.float64]:
    """Rows of length 1, in float64: of equal rows the difference of 1 and their cosine is nothing but rounding."""
    return unit_rows(vectors.astype(np.float64))
