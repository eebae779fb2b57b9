"""One number for each row that says whether it is as the catalogue has it: what the gate `written` compares."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Signatures = NDArray[np.uint64]

# 2^64 divided by the golden ratio: a product with it spreads every bit over the upper half.
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def row_signatures(
    id_hashes: NDArray[np.uint64], text_hashes: NDArray[Any], row_hashes: NDArray[np.uint64]
) -> Signatures:
    """The hashes of a row's id, text (16 bytes) and columns as one of 64 bits: [K] each -> [K]."""
    words = np.ascontiguousarray(text_hashes).view("<u8").reshape(-1, 2)
    mixed = np.zeros(id_hashes.size, np.uint64)
    for part in (id_hashes, words[:, 0], words[:, 1], row_hashes):
        mixed = (mixed ^ part) * _FACTOR
        mixed ^= mixed >> np.uint64(32)
    return mixed


def count_differences(signatures: Signatures, expected: Signatures) -> int:
    """How many signatures only one of the two has, each counted as often as it is there."""
    signatures, expected = np.sort(signatures), np.sort(expected)
    if np.array_equal(signatures, expected):
        return 0
    return _surplus(signatures, expected) + _surplus(expected, signatures)


def _surplus(ours: Signatures, others: Signatures) -> int:
    """How many of ours the others lack; both are sorted."""
    distinct, counts = np.unique(ours, return_counts=True)
    there = np.searchsorted(others, distinct, side="right") - np.searchsorted(others, distinct, side="left")
    return int(np.maximum(counts - there, 0).sum())
