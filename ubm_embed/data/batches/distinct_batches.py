"""Batches with every distinct token sequence once, and an index of the interactions over them.

Sessions repeat products often and the interaction encoder is nearly all of the cost, so a batch of B sessions with I
interactions holds only its N distinct token sequences, without padding (see `packing`).

Letters: B sessions, I interactions of all sessions end to end, N distinct interactions, T tokens of those.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import IntArray, offsets_of, ragged_index
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer

if TYPE_CHECKING:
    from ubm_embed.data.batches.packing import SessionBatch

NO_ACTION = -1
_ROW_BITS = 40


def interaction_sequences(
    tokenizer: InteractionTokenizer, texts: TokenTable, actions: IntArray, rows: IntArray
) -> TokenTable:
    """Token sequences `[CLS] action text [SEP]` of K interactions.

    Args:
        texts: product texts and search phrases.
        actions: [K] `Action.code`, or `NO_ACTION` for a product alone (paper 3.4.3), which gets no action token.
        rows: [K] rows of `texts`.
    """
    bodies = texts.take(rows)
    acts = (np.asarray(actions) != NO_ACTION).astype(np.int64)
    offsets = offsets_of(bodies.lengths + 2 + acts)
    ids = np.empty(offsets[-1], dtype=np.int32)
    ids[offsets[:-1]] = tokenizer.cls
    ids[offsets[1:] - 1] = tokenizer.sep
    with_action = np.flatnonzero(acts)
    ids[offsets[with_action] + 1] = tokenizer.actions[np.asarray(actions)[with_action]]
    ids[ragged_index(offsets[:-1] + 1 + acts, bodies.lengths)] = bodies.ids
    return TokenTable(ids, offsets)


def interaction_codes(actions: IntArray, rows: IntArray) -> NDArray[np.int64]:
    """One number for each (action, text row): [K], ordered by action, then row."""
    # Actions begin at NO_ACTION.
    return (np.asarray(actions, dtype=np.int64) - NO_ACTION) << _ROW_BITS | np.asarray(rows, dtype=np.int64)


def distinct_interactions(actions: IntArray, rows: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """The distinct (action, text row) pairs of I interactions: actions [N], rows [N], and which of them each is [I]."""
    # Single numbers sort many times faster than pairs.
    distinct, index = np.unique(interaction_codes(actions, rows), return_inverse=True)
    return (distinct >> _ROW_BITS) + NO_ACTION, distinct & ((1 << _ROW_BITS) - 1), index


def session_batch(
    tokenizer: InteractionTokenizer, texts: TokenTable, sessions: Sequence[tuple[IntArray, IntArray]]
) -> SessionBatch:
    """A batch of sessions, each as its actions [S] and text rows [S]."""
    from ubm_embed.data.batches.packing import SessionBatch

    lengths = np.array([actions.size for actions, _ in sessions], dtype=np.int64)
    actions = np.concatenate([actions for actions, _ in sessions]).astype(np.int64)
    rows = np.concatenate([rows for _, rows in sessions]).astype(np.int64)
    distinct_actions, distinct_rows, index = distinct_interactions(actions, rows)
    return SessionBatch.from_index(
        interaction_sequences(tokenizer, texts, distinct_actions, distinct_rows), index, lengths
    )
