"""How varied, how popular and how new answers are: what accuracy does not tell.

Coverage, novelty, surprisal, unexpectedness and categorical diversity are those of RePlay (sb-ai-lab/RePlay,
`replay.metrics`), so that figures can be compared with its.

An answer is a row of products, -1 where it is shorter than K.

Letters: B sessions, K products of an answer, M products, D width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray

Values = NDArray[np.float64]


def exposure(answers: IntArray, products: int) -> NDArray[np.int64]:
    """How often each product is answered: [B, K] -> [M]."""
    counts: NDArray[np.int64] = np.bincount(answers[answers >= 0], minlength=products)
    return counts


def coverage(answers: IntArray, among: BoolArray) -> float:
    """The share of some products, [M], that is answered at least once.

    Raises:
        ValueError: there are no such products.
    """
    if not among.any():
        raise ValueError("there are no products to cover")
    return float(((exposure(answers, among.size) > 0) & among).sum() / among.sum())


def gini(values: IntArray) -> float:
    """How unevenly a total is shared, 0 for evenly to 1 - 1/M for one that has all of it (Gini 1912).

    With values in ascending order, sum (2 i - M - 1) x_i / (M sum x_i), i from 1.

    Raises:
        ValueError: there is nothing to share, or a value is below 0.
    """
    ordered = np.sort(values).astype(np.float64)
    if not ordered.size or ordered[0] < 0 or not ordered.sum():
        raise ValueError("expected values of at least 0, some of them above")
    ranks = np.arange(1, ordered.size + 1)
    return float(((2 * ranks - ordered.size - 1) * ordered).sum() / (ordered.size * ordered.sum()))


def novelty(answers: IntArray, known: BoolArray) -> Values:
    """The share of each answer that its session does not hold: [B], 1 for an empty answer.

    Args:
        known: [B, K], which products of the answers are in their session.
    """
    given = answers >= 0
    shares: Values = 1.0 - (known & given).sum(axis=1) / np.maximum(given.sum(axis=1), 1)
    return shares


def surprisal(answers: IntArray, sessions_of: IntArray, total: int) -> Values:
    """The mean self-information of each answer's products: [B], 0 if all sessions hold them to 1 if one or none does.

    log2(N / u_j) / log2 N, where u_j of N sessions hold product j (Castells, Vargas and Wang 2011).

    Args:
        sessions_of: [M], u.
        total: N, at least 2.
    """
    known = np.clip(sessions_of, 1, total)
    information = np.log2(total / known) / np.log2(total)
    given = answers >= 0
    weights = np.where(given, information[np.where(given, answers, 0)], 0.0)
    means: Values = weights.sum(axis=1) / np.maximum(given.sum(axis=1), 1)
    return means


def unexpectedness(answers: IntArray, expected: IntArray) -> Values:
    """One minus the share of K that each answer has in common with what was expected, such as popular products: [B].

    Args:
        answers, expected: [B, K].
    """
    common = ((answers[:, :, None] == expected[:, None, :]) & (answers >= 0)[:, :, None]).any(axis=2)
    shares: Values = 1.0 - common.sum(axis=1) / answers.shape[1]
    return shares


def categorical_diversity(categories: IntArray) -> Values:
    """The number of different categories in each answer over K: [B].

    Args:
        categories: [B, K], numbers; below 0 where there is no product.
    """
    ordered = np.sort(categories, axis=1)
    first = np.ones(ordered.shape, dtype=bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    shares: Values = (first & (ordered >= 0)).sum(axis=1) / categories.shape[1]
    return shares


def intra_list_diversity(vectors: FloatArray, given: BoolArray) -> Values:
    """The mean of 1 - cosine over the pairs of each answer (Ziegler et al. 2005, Smyth and McClave 2001): [B].

    It is 0 for an answer of fewer than two products.

    Args:
        vectors: [B, K, D], of length 1.
        given: [B, K], where there is a product.
    """
    # The sum over all pairs of cosines is the squared length of the sum, less each vector with itself.
    held = np.where(given[:, :, None], vectors.astype(np.float64), 0.0)
    count = given.sum(axis=1)
    cosines = np.square(held.sum(axis=1)).sum(axis=1) - np.square(held).sum(axis=(1, 2))
    pairs = count * (count - 1)
    return np.where(pairs > 0, 1.0 - cosines / np.maximum(pairs, 1), 0.0)


def popularity_lift(answers: Values, profiles: Values) -> float:
    """How much more popular answers are than what their sessions hold (Abdollahpouri et al. 2019, delta GAP).

    Args:
        answers, profiles: [B], the mean popularity of an answer's products, and of those of its session.

    Returns:
        0 if they are as popular, 1 if twice as popular, -1 if nobody chose what is answered.

    Raises:
        ValueError: nobody chose what the sessions hold.
    """
    usual = float(profiles.mean())
    if usual <= 0:
        raise ValueError("nobody chose what the sessions hold")
    return (float(answers.mean()) - usual) / usual
