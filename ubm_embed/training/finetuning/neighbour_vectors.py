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
from torch import Tensor

from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.evaluation.baselines import RecentCoOccurrence
from ubm_embed.progress import Progress, silent

# Of subspace iteration: dimensions carried along beside those wanted, and times the matrix is applied.
_SPARE, _TURNS = 32, 6
# Interactions that are counted: of 11 million, with 300,000 products, counting takes 4 GB.
MOST_COUNTED = 10_000_000


def neighbour_vectors(
    sessions: SessionTable,
    products: int,
    chosen: IntArray,
    dimension: int,
    *,
    length: float,
    seed: int,
    progress: Progress = silent,
) -> Tensor:
    """A vector for each of K products, near to each other for products that often stand close in sessions: [K, D].

    The largest D dimensions of the root of `RecentCoOccurrence.similarity`; the root, since else a few pairs that
    always come together would take most of them. A product without neighbours has 0. Of more than `MOST_COUNTED`
    interactions, sessions are drawn that hold so many.

    Args:
        products: M.
        chosen: [K] rows of products.
        length: of those that are not 0, on average.
        seed: of what is drawn, and of a rotation, so that each of the D numbers says as much as another.
    """
    progress("counting neighbours", 0, 1)
    rng = np.random.default_rng(seed)
    near = RecentCoOccurrence.fit(_counted(sessions, rng), products).similarity[chosen][:, chosen]
    near.data = np.sqrt(near.data)
    vectors = _factors(near, dimension, rng, progress)
    tied = near.sum(axis=1) > 0
    vectors[~tied] = 0.0  # where only rounding is left
    mean = np.linalg.norm(vectors[tied], axis=1).mean() if tied.any() else 1.0
    rotation = np.linalg.qr(rng.standard_normal((dimension, dimension)))[0]
    return torch.from_numpy(vectors @ (rotation * (length / mean)).astype(np.float32))


def _counted(sessions: SessionTable, rng: np.random.Generator) -> SessionTable:
    if sessions.rows.size <= MOST_COUNTED:
        return sessions
    drawn = rng.permutation(len(sessions))
    return sessions.take(drawn[np.cumsum(sessions.lengths[drawn]) <= MOST_COUNTED])


def _factors(near: csr_array, dimension: int, rng: np.random.Generator, progress: Progress) -> FloatArray:
    """[K, K], symmetric -> the [K, D] whose inner products come close to it; columns that it has no use for are 0.

    By subspace iteration from a random start (Halko, Martinsson, Tropp 2011, algorithm 4.4), which on a large sparse
    matrix takes a tenth of the time of scipy's `eigsh`.
    """
    basis = rng.standard_normal((near.shape[0], dimension + _SPARE)).astype(np.float32)
    for turn in range(1, _TURNS + 1):
        # A product is its own neighbour once: with nothing on the diagonal the basis would fill with what is negative.
        basis = np.linalg.qr(near @ basis + basis)[0]
        progress("placing products by their neighbours", turn, _TURNS)
    values, directions = np.linalg.eigh(basis.T @ (near @ basis))
    best = slice(-dimension, None)  # they ascend
    found = basis @ (directions[:, best] * np.sqrt(values[best].clip(min=0.0)))
    return cast(FloatArray, np.pad(found, ((0, 0), (0, dimension - found.shape[1]))))
