"""The distinct-interaction batch: every different token sequence once, and an index that says which stands where.

Sessions repeat products heavily and the interaction encoder is nearly all of the cost, so a batch of B sessions with
I interactions in all holds only its N different token sequences, without a padded token (see `packing`).

Letters: B sessions, I interactions of all sessions end to end, N different interactions, T tokens of those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ubm_embed.data.arrays import IntArray, offsets_of, ragged_index
from ubm_embed.data.batches.packing import Packing
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer

NO_ACTION = -1
_ROW_BITS = 40


@dataclass(frozen=True)
class TokenBatch:
    """N token sequences, packed.

    Attributes:
        ids: [T] int64, in packed order.
        packing: where each sequence lies; its order of sequences is that of the table it was made from.
    """

    ids: Tensor
    packing: Packing

    @classmethod
    def of(cls, sequences: TokenTable) -> TokenBatch:
        """Pack these N sequences."""
        packing = Packing.of(sequences.lengths)
        return cls(torch.from_numpy(sequences.ids).long()[packing.elements], packing)

    def part(self, begin: int, end: int) -> TokenBatch:
        """Sequences `begin` to `end` alone, packed anew."""
        lengths = self.packing.lengths.numpy(force=True)
        if (begin, end) == (0, lengths.size):
            return self
        starts = self.packing.starts[begin:end].numpy(force=True)
        places = torch.from_numpy(ragged_index(starts, lengths[begin:end])).to(self.ids.device)
        packing = Packing.of(lengths[begin:end]).to(self.ids.device)
        return TokenBatch(self.ids[places][packing.elements], packing)

    def to(self, device: torch.device) -> TokenBatch:
        """The same on another device."""
        return TokenBatch(self.ids.to(device, non_blocking=True), self.packing.to(device))


@dataclass(frozen=True)
class SessionBatch:
    """B sessions over N different interactions.

    Attributes:
        tokens: the N different interactions.
        index: [I] int64, which of the N stands at each place, sessions end to end. It is the ragged form of [B, S].
        packing: where each session lies in the session encoder.
    """

    tokens: TokenBatch
    index: Tensor
    packing: Packing

    @classmethod
    def of(cls, sequences: TokenTable, index: IntArray, session_lengths: IntArray) -> SessionBatch:
        """Sessions of these lengths [B], whose places hold `sequences[index]` ([I])."""
        places = torch.from_numpy(np.asarray(index, dtype=np.int64))
        return cls(TokenBatch.of(sequences), places, Packing.of(session_lengths))

    def part(self, begin: int, end: int) -> tuple[Tensor, Packing]:
        """Which of the N interactions stand in sessions `begin` to `end`, and where each of these sessions lies."""
        lengths = self.packing.lengths.numpy(force=True)
        if (begin, end) == (0, lengths.size):
            return self.index, self.packing
        offsets = offsets_of(lengths)
        return self.index[offsets[begin] : offsets[end]], Packing.of(lengths[begin:end]).to(self.index.device)

    def to(self, device: torch.device) -> SessionBatch:
        """The same on another device."""
        return SessionBatch(self.tokens.to(device), self.index.to(device, non_blocking=True), self.packing.to(device))


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
    """The different (action, text row) pairs of I interactions: actions [N], rows [N], and which each place is [I]."""
    # One number a pair sorts many times faster than pairs do.
    different, index = np.unique(interaction_codes(actions, rows), return_inverse=True)
    return (different >> _ROW_BITS) + NO_ACTION, different & ((1 << _ROW_BITS) - 1), index


def session_batch(
    tokenizer: InteractionTokenizer, texts: TokenTable, sessions: Sequence[tuple[IntArray, IntArray]]
) -> SessionBatch:
    """A batch of sessions, each as its actions [S] and text rows [S]."""
    lengths = np.array([actions.size for actions, _ in sessions], dtype=np.int64)
    actions = np.concatenate([actions for actions, _ in sessions]).astype(np.int64)
    rows = np.concatenate([rows for _, rows in sessions]).astype(np.int64)
    different_actions, different_rows, index = distinct_interactions(actions, rows)
    return SessionBatch.of(interaction_sequences(tokenizer, texts, different_actions, different_rows), index, lengths)
