"""Ragged sequences as padded, dense arrays, as ONNX graphs take them.

Letters: N sequences, L token slots, B sessions with I interactions in all, S interaction slots, D width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import FloatArray, IntArray, offsets_of
from ubm_embed.data.text.token_table import TokenTable

# What a run costs before its first slot, which is reading all weights: with the paper's sizes 0.7 ms, and a slot 0.03.
_SLOTS_A_RUN_COSTS = 24


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
    """Indices of sequences of these lengths in parts of similar length, each with at most about `size` elements."""
    order = np.argsort(lengths, kind="stable")
    filled = np.cumsum(lengths[order]) // size
    parts = np.split(order, np.flatnonzero(np.diff(filled)) + 1)
    return [little_padded for part in parts for little_padded in np.split(part, _cuts(lengths[part]))]


def _cuts(lengths: IntArray) -> list[int]:
    """Where to cut sequences of ascending lengths, so that no part has more padding than a run of its own costs."""
    ends, first, cuts = offsets_of(lengths), 0, list[int]()
    for position in (np.flatnonzero(np.diff(lengths)) + 1).tolist():
        if lengths[position] * (position - first) - (ends[position] - ends[first]) > _SLOTS_A_RUN_COSTS:
            cuts.append(position)
            first = position
    return cuts
