"""The rank of the target among all products, hit@k, MRR@k (paper 4.1.2) and NDCG@k.

Letters: E examples, M products.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray

CUTOFFS = (10, 20)


def target_ranks(scores: FloatArray, targets: IntArray, excluded: BoolArray | None = None) -> NDArray[np.int64]:
    """Rank of each target, 1 for the best, ties against it: one plus how many others score at least as high.

    So a scorer that gives everything the same score ranks every target last.

    Args:
        scores: [E, M], higher is better.
        targets: [E] columns.
        excluded: [E, M], products that are not candidates, such as those seen already; never the target.
    """
    own = np.take_along_axis(scores, np.asarray(targets)[:, None], axis=1)
    at_least = ~(scores < own)  # NaN counts against the target as well
    if excluded is not None:
        at_least &= ~excluded
    ranks: NDArray[np.int64] = at_least.sum(axis=1)  # includes the target itself
    return ranks


def hit_at_k(ranks: IntArray, k: int) -> float:
    """Fraction of the examples whose target is among the first k."""
    return float(np.mean(ranks <= k))


def mrr_at_k(ranks: IntArray, k: int) -> float:
    """Mean of 1 / rank, 0 where the target is not among the first k."""
    return float(np.mean(np.where(ranks <= k, 1.0 / ranks, 0.0)))


def ndcg_at_k(ranks: IntArray, k: int) -> float:
    """Mean of 1 / log2(1 + rank), 0 where the target is not among the first k (Järvelin and Kekäläinen 2002).

    With one target the ideal gain is 1.
    """
    return float(np.mean(np.where(ranks <= k, 1.0 / np.log2(1.0 + ranks), 0.0)))


def ranking_metrics(ranks: IntArray, cutoffs: Sequence[int] = CUTOFFS) -> dict[str, float]:
    """Next item: hit@k, mrr@k and ndcg@k of the targets' ranks, [E], 1 for the best, for each cutoff k.

    Raises:
        ValueError: there are no ranks.
    """
    if not ranks.size:
        raise ValueError("there are no ranks to measure")
    measures = {"hit": hit_at_k, "mrr": mrr_at_k, "ndcg": ndcg_at_k}
    return {f"{name}@{k}": measure(ranks, k) for k in cutoffs for name, measure in measures.items()}
