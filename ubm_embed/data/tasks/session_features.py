"""What counting says about a session: how many interactions of each kind, how many products again, what came last.

Heads read these numbers beside h', and trees over them are the baseline to beat.

Letters: S sessions, I interactions of all sessions end to end, F features.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.session import ACTIONS, Action

_LAST = 3  # actions told one by one
_SESSIONS_AT_ONCE = 4096

FEATURES: tuple[str, ...] = (
    "log length",
    *(f"log {action}s" for action in ACTIONS),
    "log products",
    "log repeats",
    "share of repeats",
    "last is a repeat",
    *(f"recency of {action}" for action in ACTIONS),
    *(f"{action}, {back} back" for back in range(_LAST) for action in ACTIONS),
)


def session_features(sessions: SessionTable) -> FloatArray:
    """The features of whole sessions: [S, F] float32; 0 of one without interactions."""
    parts = range(0, len(sessions), _SESSIONS_AT_ONCE)
    rows = [
        _at_the_end(sessions.take(np.arange(start, min(start + _SESSIONS_AT_ONCE, len(sessions))))) for start in parts
    ]
    return np.concatenate(rows) if rows else np.empty((0, len(FEATURES)), np.float32)


def prefix_features(sessions: SessionTable) -> FloatArray:
    """The features of every prefix, at its last interaction: [I, F] float32, each of about 0 to 5.

    Logarithms are of 1 + a count. The recency of an action is 1 over 1 + the interactions since, and 0 without any.
    """
    actions = np.eye(len(ACTIONS), dtype=np.float32)[sessions.actions]
    is_product = sessions.actions != Action.SEARCH.code
    first = _first_occurrences(sessions, is_product)
    counts = _running(actions, sessions)
    length = counts.sum(axis=1)
    products, repeats = _running(np.stack([first, is_product & ~first], axis=1), sessions).T
    columns = [
        np.log1p(np.column_stack([length, counts, products, repeats])),
        np.column_stack([repeats / length, is_product & ~first]),
        _recencies(actions, sessions),
        *(_earlier(actions, sessions, back) for back in range(_LAST)),
    ]
    return np.concatenate(columns, axis=1).astype(np.float32)


def _at_the_end(sessions: SessionTable) -> FloatArray:
    features, filled = np.zeros((len(sessions), len(FEATURES)), np.float32), sessions.lengths > 0
    features[filled] = prefix_features(sessions)[sessions.offsets[1:][filled] - 1]
    return features


def _positions(sessions: SessionTable) -> IntArray:
    """[I] of each interaction in its session, from 0."""
    positions: IntArray = np.arange(sessions.rows.size) - np.repeat(sessions.offsets[:-1], sessions.lengths)
    return positions


def _running(values: NDArray[np.generic], sessions: SessionTable) -> NDArray[np.float64]:
    """[I, K] sums from the start of each session up to each interaction."""
    sums = np.cumsum(np.asarray(values, np.float64), axis=0)
    before = np.concatenate([np.zeros((1, sums.shape[1])), sums])[sessions.offsets[:-1]]
    running: NDArray[np.float64] = sums - np.repeat(before, sessions.lengths, axis=0)
    return running


def _first_occurrences(sessions: SessionTable, is_product: BoolArray) -> BoolArray:
    """[I] which interactions are the first with their product in their session."""
    products = np.flatnonzero(is_product)
    pairs = sessions.session_of()[products] << 32 | sessions.rows[products].astype(np.int64)
    first = np.zeros(sessions.rows.size, dtype=bool)
    first[products[np.unique(pairs, return_index=True)[1]]] = True
    return first


def _recencies(actions: FloatArray, sessions: SessionTable) -> FloatArray:
    """[I, A] 1 over 1 + the interactions since the last one of each action; 0 without any."""
    here = np.arange(len(actions))[:, None]
    latest = np.maximum.accumulate(np.where(actions > 0, here, -1), axis=0)
    starts = np.repeat(sessions.offsets[:-1], sessions.lengths)[:, None]
    recencies: FloatArray = np.where(latest >= starts, 1 / (1 + here - latest), 0).astype(np.float32)
    return recencies


def _earlier(actions: FloatArray, sessions: SessionTable, back: int) -> FloatArray:
    """[I, A] the action `back` interactions earlier in the session; all 0 where there is none."""
    shifted = np.roll(actions, back, axis=0)
    shifted[_positions(sessions) < back] = 0
    return shifted
