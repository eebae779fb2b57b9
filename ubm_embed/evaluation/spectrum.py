"""In how many directions vectors vary: singular values, RankMe and IsoScore.

Letters: N vectors, D width.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

# Keeps the logarithm finite, as in equation 2 of RankMe for float32.
_EPSILON = 1e-7


def eigenvalues(symmetric: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of a matrix of second moments, the largest first; what rounding made negative is 0: [D, D] -> [D]."""
    values: NDArray[np.float64] = np.maximum(np.linalg.eigvalsh(symmetric)[::-1], 0.0)
    return values


def singular_values(products: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the vectors X [N, D], from X'X: the largest first, [D]."""
    return np.sqrt(eigenvalues(products))


def rank_me(singular: NDArray[np.float64]) -> float:
    """The effective rank of vectors by their singular values, from 1 to D: exp of the entropy of their shares.

    RankMe (Garrido et al. 2023, equations 1 and 2), after the effective rank of Roy and Vetterli (2007).
    """
    shares = singular / singular.sum() + _EPSILON
    return float(np.exp(-(shares * np.log(shares)).sum()))


def iso_score(variances: NDArray[np.float64]) -> float:
    """How evenly vectors use all directions: 0 for a line, 1 if the variance is the same in each; D >= 2.

    IsoScore (Rudman et al. 2022, algorithm 1). A point, which has no variance, scores 0.

    Args:
        variances: along the principal components: the eigenvalues of the covariance, [D].
    """
    length, n = float(np.linalg.norm(variances)), variances.size
    if not length:
        return 0.0
    normalized = math.sqrt(n) * variances / length
    defect = float(np.linalg.norm(normalized - 1)) / math.sqrt(2 * (n - math.sqrt(n)))
    utilized = (n - defect**2 * (n - math.sqrt(n))) ** 2 / n**2  # fraction of the dimensions
    return (n * utilized - 1) / (n - 1)
