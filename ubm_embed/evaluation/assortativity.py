"""Do neighbours in a space have the same label? The assortativity coefficient of its graph of nearest neighbours.

Newman 2003, "Mixing patterns in networks", equation 2: r = (sum_i e_ii - sum_i a_i b_i) / (1 - sum_i a_i b_i), where
e_ij is the share of edges from label i to label j, and a_i and b_j are its margins. The edges are those from each
vector to its nearest others. r is 0 where labels are mixed as by chance, whatever their sizes, and 1 where all
neighbours share a label.

Letters: N vectors, K neighbours of each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import IntArray


def assortativity(labels: Sequence[str], neighbors: IntArray) -> float | None:
    """r of labels [N] and neighbours [N, K]; None if all labels are equal."""
    return _coefficient(*_edges(labels, neighbors))


def assortativity_interval(
    labels: Sequence[str], neighbors: IntArray, *, rounds: int, seed: int
) -> tuple[float, float] | None:
    """95% bootstrap interval of r over the vectors that edges start from; None if all labels are equal."""
    starts, ends, size = _edges(labels, neighbors)
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(rounds):
        rows = generator.integers(len(starts), size=len(starts))
        value = _coefficient(starts[rows], ends[rows], size)
        if value is not None:
            values.append(value)
    if not values:
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _edges(labels: Sequence[str], neighbors: IntArray) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """The label of each edge's start and end, as numbers: two [N, K]; and how many labels there are."""
    names, codes = np.unique(np.asarray(labels), return_inverse=True)
    return np.broadcast_to(codes[:, None], neighbors.shape), codes[neighbors], len(names)


def _coefficient(starts: NDArray[np.int64], ends: NDArray[np.int64], size: int) -> float | None:
    a = np.bincount(starts.ravel(), minlength=size) / starts.size
    b = np.bincount(ends.ravel(), minlength=size) / ends.size
    by_chance = float(a @ b)
    if by_chance >= 1:
        return None
    return (float((starts == ends).mean()) - by_chance) / (1 - by_chance)
