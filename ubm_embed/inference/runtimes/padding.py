"""Ragged sequences as padded, dense arrays, as ONNX graphs take them.

Letters: N sequences, L token slots, B sessions with I interactions in all, S interaction slots, D width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.data.text.token_table import TokenTable


def padded_tokens(sequences: TokenTable) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sequences padded to the longest of them: ids and mask, [N, L] each. The mask is 1 for a token, else 0."""
    present = _present(sequences.lengths)
    ids = np.zeros(present.shape, np.int64)
    ids[present] = sequences.ids
    return ids, present.astype(np.int64)


def padded_sessions(interactions: FloatArray, lengths: IntArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """Sessions that lie end to end, [I, D] and [B], padded to the longest: [B, S, D], and the mask [B, S]."""
    present = _present(lengths)
    if present.size == len(interactions):  # nothing to pad
        return interactions.reshape(*present.shape, -1), present.astype(np.int64)
    dense = np.zeros((*present.shape, interactions.shape[1]), np.float32)
    dense[present] = interactions
    return dense, present.astype(np.int64)


def _present(lengths: IntArray) -> NDArray[np.bool_]:
    present: NDArray[np.bool_] = np.arange(lengths.max()) < lengths[:, None]
    return present


def parts_by_length(lengths: IntArray, size: int) -> list[NDArray[np.int64]]:
    """Indices of sequences of these lengths in parts of similar length, each with about `size` elements."""
    order = np.argsort(lengths, kind="stable")
    filled = np.cumsum(lengths[order]) // size
    return np.split(order, np.flatnonzero(np.diff(filled)) + 1)
