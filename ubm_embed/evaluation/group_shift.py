"""Which groups of vectors moved apart from all others, corrected for their number.

Letters: N vectors, G groups, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import FloatArray, IntArray

_ROUNDING = 1e-5


@dataclass(frozen=True)
class GroupShift:
    """How far a group moved.

    Attributes:
        size: of its vectors.
        distance: between its mean move and that of most vectors, without what scatter alone gives.
        p_value: how often one of the groups would seem to have moved as far, if groups made no difference.
    """

    group: int
    size: int
    distance: float
    p_value: float


def group_shifts(moves: FloatArray, groups: IntArray, *, min_size: int, rounds: int, seed: int) -> list[GroupShift]:
    """The shift of each group of at least `min_size` vectors, beyond what the whole moved; the furthest first.

    A distance is the root of |m|^2 - tr(S) / n, where m is the mean of the n moves and S their covariance: that is
    right on average, while |m| alone is some distance even of moves without a common direction.

    What the whole moved is the median of each coordinate, which one group does not sway. Moves are then given to
    groups at random: the p-value of a group is the share of rounds in which the largest of all statistics, the distance
    times the root of the size, is at least its own. This holds the chance of any false alarm (Westfall and Young 1993,
    "Resampling-based multiple testing", single-step maxT).

    Args:
        moves: from the earlier vector to the later one, [N, D].
        groups: of each, from 0: [N].
        rounds: no p-value is below 1 / (1 + rounds).
    """
    numbers, sizes = np.unique(groups, return_counts=True)
    numbers, sizes = numbers[sizes >= min_size], sizes[sizes >= min_size]
    if not numbers.size:
        return []
    centred = moves - np.median(moves, axis=0)
    # A matrix product with it takes the mean of each group, ten times as fast as `np.add.reduceat`: [G, N].
    weights = ((groups == numbers[:, None]) / sizes[:, None]).astype(np.float32)
    roots, rng = np.sqrt(sizes), np.random.default_rng(seed)
    means = weights @ centred
    lengths = np.linalg.norm(means, axis=1)
    exceeded = np.ones(numbers.size, np.int64)  # the arrangement observed is one of the rounds
    for _ in range(rounds):
        largest = (np.linalg.norm(weights[:, rng.permutation(len(moves))] @ centred, axis=1) * roots).max()
        # As large up to rounding, with which sums in another order differ.
        exceeded += largest >= lengths * roots * (1 - _ROUNDING)
    p_values, distances = exceeded / (1 + rounds), _without_scatter(means, weights @ np.square(centred), sizes)
    shifts = zip(numbers.tolist(), sizes.tolist(), distances.tolist(), p_values.tolist(), strict=True)
    return sorted((GroupShift(*shift) for shift in shifts), key=lambda shift: -shift.distance)


def _without_scatter(means: FloatArray, squares: FloatArray, sizes: IntArray) -> NDArray[np.float64]:
    """The distances of groups by their means, means of squares and sizes: [G, D], [G, D] and [G] -> [G]."""
    squared = np.square(means).sum(axis=1, dtype=np.float64)
    scatter = (squares.sum(axis=1, dtype=np.float64) - squared) / np.maximum(sizes - 1, 1)
    distances: NDArray[np.float64] = np.sqrt(np.maximum(squared - scatter, 0.0))
    return distances
