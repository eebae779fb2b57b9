"""Where item embeddings start: each product near those that stand close to it in sessions.

Which products go together can be counted, and need not be learned one step at a time. Training then has to learn what
counting does not show: what a whole session is about, and what the words of a product mean.

Letters: M products, K of them, D width.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from scipy.sparse import csr_array, eye_array
from sklearn.utils.extmath import randomized_svd
from torch import Tensor

from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.evaluation.baselines import RecentCoOccurrence
from ubm_embed.progress import Progress, silent

# Of 11 million interactions with 300,000 products, counting takes 4 GB.
MAX_COUNTED = 10_000_000
# Dimensions beside those that are wanted, and power iterations. Of 20,000 products they leave an error of 79.35% of
# the matrix in 1.8 s of one core, where six QR steps of subspace iteration leave 79.55% in 3.0 s.
_OVERSAMPLES, _ITERATIONS = 32, 3


def neighbour_vectors(
    sessions: SessionTable,
    products: int,
    chosen: IntArray,
    dimension: int,
    *,
    length: float,
    seed: int,
    max_counted: int = MAX_COUNTED,
    progress: Progress = silent,
) -> Tensor:
    """A vector for each of K products, near to each other for products that often stand close in sessions: [K, D].

    They are the D largest dimensions of the square root of `RecentCoOccurrence.similarity`, entry by entry: without the
    root, a few pairs that always come together would take most dimensions. A product without neighbours has 0.

    Args:
        products: M.
        chosen: [K] rows of products.
        length: mean length of the vectors that are not 0.
        seed: of what is drawn, and of a rotation after which all D dimensions carry about the same variance.
        max_counted: of more interactions than this, a random part of the sessions is counted.
    """
    progress("counting neighbours", 0, 1)
    rng = np.random.default_rng(seed)
    counted = _within(sessions, max_counted, rng)
    near = RecentCoOccurrence.fit(counted, products).similarity[chosen][:, chosen]
    near.data = np.sqrt(near.data)
    progress("placing products by their neighbours", 0, 1)
    vectors = _factors(near, dimension, rng)
    tied = near.sum(axis=1) > 0
    vectors[~tied] = 0.0  # nothing but rounding
    mean = np.linalg.norm(vectors[tied], axis=1).mean() if tied.any() else 1.0
    rotation = np.linalg.qr(rng.standard_normal((dimension, dimension)))[0]
    progress("placing products by their neighbours", 1, 1)
    return torch.from_numpy(vectors @ (rotation * (length / mean)).astype(np.float32))


def _within(sessions: SessionTable, max_counted: int, rng: np.random.Generator) -> SessionTable:
    """The sessions, or of too many a random part, with at most `max_counted` interactions."""
    if sessions.rows.size <= max_counted:
        return sessions
    drawn = rng.permutation(len(sessions))
    return sessions.take(drawn[np.cumsum(sessions.lengths[drawn]) <= max_counted])


def _factors(near: csr_array, dimension: int, rng: np.random.Generator) -> FloatArray:
    """[K, K], symmetric -> the [K, D] whose inner products come close to it; unused columns are 0.

    By randomised subspace iteration (Halko, Martinsson, Tropp 2011), which on a large sparse matrix takes a tenth of
    the time of scipy's `eigsh`.
    """
    size = near.shape[0]
    if not size:
        return np.zeros((0, dimension), dtype=np.float32)
    # A product is its own neighbour once: with a diagonal of 0, half of the basis would go to negative eigenvalues.
    shifted = (near + eye_array(size, dtype=near.dtype, format="csr")).tocsr()
    wanted = min(size, dimension + _OVERSAMPLES)
    basis = randomized_svd(shifted, wanted, n_oversamples=0, n_iter=_ITERATIONS, random_state=int(rng.integers(2**31)))[
        0
    ]
    # The SVD has lost the signs of the eigenvalues: take them from the matrix itself, within the basis.
    values, directions = np.linalg.eigh(basis.T @ (near @ basis))
    best = slice(-dimension, None)  # they ascend
    vectors = basis @ (directions[:, best] * np.sqrt(values[best].clip(min=0.0)))
    return cast(FloatArray, np.pad(vectors, ((0, 0), (0, dimension - vectors.shape[1]))))
