"""Where the vectors of known texts start: each product among those that it stands close to in sessions.

Which products go together can be counted, and need not be learned one step at a time. Training then has to learn what
counting does not say: what a whole session is after, and what the words of a product mean.

Letters: M products, K of them, D width.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.linalg import eigsh
from torch import Tensor

from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.data.session_table import SessionTable
from ubm_embed.evaluation.baselines import RecentCoOccurrence


def neighbour_vectors(
    sessions: SessionTable, products: int, chosen: IntArray, dimension: int, *, length: float, seed: int
) -> Tensor:
    """A vector for each of K products, near to each other for products that often stand close in sessions: [K, D].

    The best D dimensions of the root of `RecentCoOccurrence.similarity`; the root, since else a few pairs that always
    come together would take them all. Two products that no session ties together are at right angles; one without
    neighbours is 0.

    Args:
        products: M.
        chosen: [K] rows of products.
        length: of those that are not 0, on average.
        seed: of a rotation, so that each of the D numbers says as much as another.
    """
    near = RecentCoOccurrence.fit(sessions, products).similarity[chosen][:, chosen]
    near.data = np.sqrt(near.data)
    vectors = _factors(near, dimension)
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((dimension, dimension)))[0]
    lengths = np.linalg.norm(vectors, axis=1)
    mean = float(lengths[lengths > 0].mean()) if lengths.any() else 1.0
    return torch.from_numpy((vectors @ rotation * (length / mean)).astype(np.float32))


def _factors(symmetric: csr_array, dimension: int) -> FloatArray:
    """[K, K] -> the [K, D] whose inner products come closest to it; columns that it has no use for are 0."""
    count = symmetric.shape[0]
    if count <= 2 * dimension:  # Lanczos wants fewer than there are
        values, directions = np.linalg.eigh(symmetric.toarray())
    else:
        values, directions = eigsh(symmetric, k=dimension, which="LA", v0=np.ones(count, dtype=np.float32), tol=1e-3)
    found = directions[:, -dimension:] * np.sqrt(np.clip(values[-dimension:], 0.0, None))
    return cast(FloatArray, np.pad(found, ((0, 0), (0, dimension - found.shape[1]))))
