"""What one step of pre-training reads: sequences packed into one batch, and which vectors belong together.

Within a view each different interaction is encoded once, wherever it stands in the batch. Views are not shared with
each other: dropout masking (paper 3.3.1) needs a fresh encoding of the same text on each side of a pair.

Letters: N pairs or sessions, K vectors of the batch, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ubm_embed.data.arrays import IntArray
from ubm_embed.data.batches.augmentations import mask_action_and_item_tokens, mask_item_tokens, reorder_interactions
from ubm_embed.data.batches.distinct_batches import (
    NO_ACTION,
    SessionBatch,
    TokenBatch,
    distinct_interactions,
    interaction_sequences,
)
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer


@dataclass(frozen=True)
class Pairs:
    """Positive pairs among the vectors of a batch.

    Attributes:
        anchors, positives: [N] rows of the batch's vectors.
        anchor_labels, positive_labels: [N] what each is, a number for each different thing. A positive is no negative
            of an anchor that is the same thing, or whose own positive is.
    """

    anchors: Tensor
    positives: Tensor
    anchor_labels: Tensor
    positive_labels: Tensor

    @classmethod
    def of(cls, anchors: IntArray, positives: IntArray, anchor_labels: IntArray, positive_labels: IntArray) -> Pairs:
        """From numpy."""
        return cls(*map(torch.from_numpy, (anchors, positives, anchor_labels, positive_labels)))

    @property
    def same(self) -> Tensor:
        """[N, N] bool, which positives are no negatives of which anchors.

        Made where it is read: for 8,192 pairs it has 67 MB, which is slow to make on a CPU and to send.
        """
        positives = self.positive_labels
        return (positives == positives[:, None]).logical_or_(positives == self.anchor_labels[:, None])

    def left_out(self) -> int:
        """How many negatives are false ones: what `same` holds off its diagonal."""
        _, kinds, counts = torch.unique(self.positive_labels, return_inverse=True, return_counts=True)
        with_own = counts[kinds].sum()
        labels, places = torch.unique(self.positive_labels), self.anchor_labels
        found = torch.searchsorted(labels, places).clamp(max=labels.numel() - 1)
        others = (labels[found] == places) & (places != self.positive_labels)
        return int(with_own + counts[found][others].sum()) - self.anchors.numel()

    def to(self, device: torch.device) -> Pairs:
        """The same on another device."""
        return Pairs(*(tensor.to(device, non_blocking=True) for tensor in vars(self).values()))


@dataclass(frozen=True)
class Views:
    """A batch and its losses' pairs, by the loss's name.

    Attributes:
        batch: products alone as a `TokenBatch` in stage 1, sessions in stage 2.
        pairs: one entry a loss.
    """

    batch: TokenBatch | SessionBatch
    pairs: dict[str, Pairs]

    def to(self, device: torch.device) -> Views:
        """The same on another device."""
        return Views(self.batch.to(device), {name: pairs.to(device) for name, pairs in self.pairs.items()})

    @property
    def negatives(self) -> dict[str, tuple[int, int]]:
        """By loss: how many negatives stand in the denominators, and how many false ones were left out of them."""
        counts = {}
        for name, pairs in self.pairs.items():
            count, left_out = pairs.anchors.numel(), pairs.left_out()
            counts[name] = (count * (count - 1) - left_out, left_out)
        return counts


def item_views(
    tokenizer: InteractionTokenizer,
    texts: TokenTable,
    items: IntArray,
    next_items: IntArray,
    losses: frozenset[str],
    rng: np.random.Generator,
    actions: IntArray | None = None,
) -> Views:
    """Stage 1 (3.2.1): N products and their next ones, each also with its item tokens masked.

    Args:
        items, next_items: [N] rows of `texts`.
        losses: of `item_token_masking` (equation 1) and `next_item_pairing` (equation 2).
        actions: [N] `Action.code` of each item's interaction, to be read with it; none as in the paper, where both
            are products alone. The next item is always one alone, as the products are that a session is held against.
    """
    both = np.concatenate([items, next_items])
    alone = np.full(items.size, NO_ACTION)
    acts = np.concatenate([alone if actions is None else actions, alone])
    different_acts, different, places = distinct_interactions(acts, both)
    sequences = interaction_sequences(tokenizer, texts, different_acts, different)
    pairs = {}
    if "next_item_pairing" in losses:
        # The next item of q is no negative of k where it is k's next item too, or k itself.
        pairs["next_item_pairing"] = Pairs.of(places[: items.size], places[items.size :], items, next_items)
    if "item_token_masking" in losses:
        masked = mask_item_tokens(interaction_sequences(tokenizer, texts, acts, both), tokenizer, rng)
        pairs["item_token_masking"] = Pairs.of(places, different.size + np.arange(both.size), both, both)
        sequences = TokenTable.concatenate([sequences, masked])
    return Views(TokenBatch.of(sequences), pairs)


def session_views(
    tokenizer: InteractionTokenizer,
    texts: TokenTable,
    sessions: SessionTable,
    losses: frozenset[str],
    rng: np.random.Generator,
) -> Views:
    """Stage 2 (3.2.2): N sessions, each also with two interactions exchanged, and with tokens masked.

    Args:
        losses: of `interaction_reordering` (equation 3) and `action_and_item_token_masking` (equation 4).
    """
    views = [_shared_view(tokenizer, texts, sessions)]
    if "interaction_reordering" in losses:
        views.append(_shared_view(tokenizer, texts, reorder_interactions(sessions, rng)))
    if "action_and_item_token_masking" in losses:
        every = interaction_sequences(tokenizer, texts, sessions.actions, sessions.rows)
        views.append((mask_action_and_item_tokens(every, tokenizer, rng), np.arange(len(every))))
    names = [name for name in ("interaction_reordering", "action_and_item_token_masking") if name in losses]
    which, rows = _different_sessions(sessions), np.arange(len(sessions))
    pairs: dict[str, Pairs] = {
        name: Pairs.of(rows, view * len(sessions) + rows, which, which) for view, name in enumerate(names, start=1)
    }
    return Views(_joined(views, sessions.lengths), pairs)


def _shared_view(
    tokenizer: InteractionTokenizer, texts: TokenTable, sessions: SessionTable
) -> tuple[TokenTable, IntArray]:
    actions, rows, index = distinct_interactions(sessions.actions.astype(np.int64), sessions.rows.astype(np.int64))
    return interaction_sequences(tokenizer, texts, actions, rows), index


def _joined(views: list[tuple[TokenTable, IntArray]], lengths: IntArray) -> SessionBatch:
    sizes = np.array([len(sequences) for sequences, _ in views])
    firsts = np.cumsum(sizes) - sizes
    sequences = TokenTable.concatenate([sequences for sequences, _ in views])
    index = np.concatenate([index + first for (_, index), first in zip(views, firsts, strict=True)])
    return SessionBatch.of(sequences, index, np.tile(lengths, len(views)))


def _different_sessions(sessions: SessionTable) -> IntArray:
    """[N] a number for each session, the same for those that hold the same interactions in the same order."""
    content = [
        (sessions.actions[start:stop].tobytes(), sessions.rows[start:stop].tobytes())
        for start, stop in zip(sessions.offsets[:-1], sessions.offsets[1:], strict=True)
    ]
    seen: dict[tuple[bytes, bytes], int] = {}
    return np.array([seen.setdefault(key, len(seen)) for key in content])
