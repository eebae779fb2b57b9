"""Where the right answer stands among all products: ranks, hit@k and MRR@k (paper 4.1.2).

Letters: E questions, M products.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray


def target_ranks(scores: FloatArray, targets: IntArray, left_out: BoolArray | None = None) -> NDArray[np.int64]:
    """Rank of each target, 1 for the best, ties against it: one plus how many others score at least as high.

    A scorer that calls everything equal then ranks every target last, and gains nothing by it.

    Args:
        scores: [E, M], higher is better.
        targets: [E] columns.
        left_out: [E, M] bool, products that are no candidates, such as those seen already. Never the target.
    """
    own = np.take_along_axis(scores, np.asarray(targets)[:, None], axis=1)
    at_least = ~(scores < own)  # a score that is not a number counts against the target as well
    if left_out is not None:
        at_least &= ~left_out
    ranks: NDArray[np.int64] = at_least.sum(axis=1)  # the target itself is the one
    return ranks


def hit_at_k(ranks: IntArray, k: int) -> float:
    """Share of the questions whose target is among the first k."""
    return float(np.mean(ranks <= k))


def mrr_at_k(ranks: IntArray, k: int) -> float:
    """Mean of 1 / rank, 0 where the target is not among the first k."""
    return float(np.mean(np.where(ranks <= k, 1.0 / ranks, 0.0)))
