"""Rows that are equal in all their bits, found by hashes of eight bytes.

Letters: N rows, D width, M rows of all batches.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import BoolArray, FloatArray


def row_hashes(vectors: FloatArray, seed: int = 0) -> NDArray[np.uint64]:
    """A hash of each row's bits: [N, D] -> [N]. Rows are hashed alike in every batch.

    Multilinear hashing (Lemire and Kaser 2014): random 64-bit factors of the 32-bit words, added up modulo 2^64. Two
    rows collide with a probability of 2^-63 if a word differs by an odd number, and of 2^-32 at the very worst.
    """
    factors = np.random.default_rng(seed).integers(2**63, size=vectors.shape[1], dtype=np.uint64) * 2 + 1
    words = np.ascontiguousarray(vectors, np.float32).view(np.uint32)
    hashes: NDArray[np.uint64] = words.astype(np.uint64) @ factors
    return hashes


def occurs_again(codes: NDArray[np.uint64]) -> BoolArray:
    """Which values occur more than once: [M]."""
    _, which, counts = np.unique(codes, return_inverse=True, return_counts=True)
    repeated: BoolArray = counts[which] > 1
    return repeated


def partners(codes: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.int64]:
    """For each row one with the same code that differs in `other`, -1 if there is none: [M] and [M] -> [M]."""
    order = np.lexsort((other, codes))
    sorted_codes, sorted_other = codes[order], other[order]
    # Of equal codes, the rows with the first other value get the last row, and the rest get the first.
    begins = np.flatnonzero(np.append(True, sorted_codes[1:] != sorted_codes[:-1]))
    lengths = np.diff(np.append(begins, codes.size))
    first, last = np.repeat(begins, lengths), np.repeat(begins + lengths - 1, lengths)
    partner = np.where(sorted_other == sorted_other[first], last, first)
    partner[sorted_other[partner] == sorted_other] = -1
    found = np.empty(codes.size, np.int64)
    found[order] = np.where(partner < 0, -1, order[partner])
    return found
