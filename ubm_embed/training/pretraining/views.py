"""What one step of pre-training reads: sequences packed into one batch, and which of their vectors form pairs.

Within a view each different interaction is encoded once, wherever it stands in the batch. Two views never share an
encoding: dropout masking (paper 3.3.1) needs a fresh one of the same text on each side of a pair.

Letters: N pairs or sessions, T texts, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ubm_embed.data.arrays import IntArray, ragged_index
from ubm_embed.data.batches.augmentations import mask_action_and_item_tokens, mask_item_tokens, reorder_interactions
from ubm_embed.data.batches.distinct_batches import NO_ACTION, distinct_interactions, interaction_sequences
from ubm_embed.data.batches.packing import SessionBatch, TokenBatch
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer


@dataclass(frozen=True)
class KnownNextItems:
    """Which items follow which in the sessions that are trained on: a sparse [T, T] matrix, row by row.

    Attributes:
        offsets: [T + 1] the next items of text row t are `next_items[offsets[t]:offsets[t + 1]]`.
        next_items: text rows, ascending and each once within an item.
    """

    offsets: IntArray
    next_items: IntArray

    @classmethod
    def from_pairs(cls, items: IntArray, next_items: IntArray, texts: int) -> KnownNextItems:
        """From all pairs (two arrays of text rows, repeats allowed); `texts` is T."""
        codes = np.unique(items.astype(np.int64) * texts + next_items)
        return cls(np.searchsorted(codes, np.arange(texts + 1) * texts), codes % texts)

    def false_negatives(self, items: IntArray, next_items: IntArray) -> FalseNegatives:
        """Which of N next items are no negatives of which of N items: known next items of theirs, and themselves.

        Reads the known next items of each different item once: [N, N] is never looked at pair by pair.
        """
        rows, row_of = np.unique(items, return_inverse=True)
        columns, column_of = np.unique(next_items, return_inverse=True)
        counts = self.offsets[rows + 1] - self.offsets[rows]
        followers = self.next_items[ragged_index(self.offsets[rows], counts)]
        row = np.concatenate([np.repeat(np.arange(rows.size), counts), np.arange(rows.size), row_of])
        masked = np.concatenate([followers, rows, next_items])
        column = np.searchsorted(columns, masked)
        column[column == columns.size] = 0
        here = columns[column] == masked
        entries = np.unique(row[here] * columns.size + column[here])
        return FalseNegatives((rows.size, columns.size), *map(torch.from_numpy, (row_of, column_of, entries)))


@dataclass(frozen=True)
class FalseNegatives:
    """Which positives of a batch are no negatives of which anchors, as a sparse table over the different ones.

    Attributes:
        shape: of the table, a row for each different anchor and a column for each different positive.
        row_of, column_of: [N] the row of each anchor, and the column of each positive.
        entries: [H] positions in the flat table that are masked, each once. Every anchor's own positive is among them.
    """

    shape: tuple[int, int]
    row_of: Tensor
    column_of: Tensor
    entries: Tensor

    @property
    def mask(self) -> Tensor:
        """[N, N] bool."""
        table = torch.zeros(self.shape, dtype=torch.bool, device=self.entries.device)
        table.view(-1)[self.entries] = True
        return table.index_select(0, self.row_of).index_select(1, self.column_of)

    @property
    def num_masked(self) -> int:
        """The number of entries of `mask` off its diagonal."""
        anchors = torch.bincount(self.row_of, minlength=self.shape[0])
        positives = torch.bincount(self.column_of, minlength=self.shape[1])
        row, column = self.entries // self.shape[1], self.entries % self.shape[1]
        return int((anchors[row] * positives[column]).sum()) - self.row_of.numel()

    def to(self, device: torch.device) -> FalseNegatives:
        """The same on another device."""
        row_of, column_of, entries = (
            tensor.to(device, non_blocking=True) for tensor in (self.row_of, self.column_of, self.entries)
        )
        return FalseNegatives(self.shape, row_of, column_of, entries)


@dataclass(frozen=True)
class Pairs:
    """Positive pairs among the vectors of a batch.

    Attributes:
        anchors, positives: [N] rows of the batch's vectors.
        anchor_labels, positive_labels: [N] a number for each different item or session. A positive is a false negative
            of an anchor with the same label, and of an anchor whose own positive has the same label.
        false_negatives: the table to use instead of the labels, where more than those are known; None goes by labels.
    """

    anchors: Tensor
    positives: Tensor
    anchor_labels: Tensor
    positive_labels: Tensor
    false_negatives: FalseNegatives | None = None

    @classmethod
    def from_arrays(
        cls,
        anchors: IntArray,
        positives: IntArray,
        anchor_labels: IntArray,
        positive_labels: IntArray,
        false_negatives: FalseNegatives | None = None,
    ) -> Pairs:
        """From numpy."""
        rows = (torch.from_numpy(anchors), torch.from_numpy(positives))
        return cls(*rows, torch.from_numpy(anchor_labels), torch.from_numpy(positive_labels), false_negatives)

    @property
    def false_negative_mask(self) -> Tensor:
        """[N, N] bool, which positives are not negatives of which anchors. The diagonal is True.

        Made on the device that reads it: for 8,192 pairs it has 67 MB, which is slow to make on a CPU and to send.
        """
        if self.false_negatives is not None:
            return self.false_negatives.mask
        positives = self.positive_labels
        return (positives == positives[:, None]).logical_or_(positives == self.anchor_labels[:, None])

    @property
    def num_masked(self) -> int:
        """The number of false negatives: the entries of `false_negative_mask` off its diagonal, without making it."""
        if self.false_negatives is not None:
            return self.false_negatives.num_masked
        labels, kinds, counts = torch.unique(self.positive_labels, return_inverse=True, return_counts=True)
        same_positive = counts[kinds].sum()
        found = torch.searchsorted(labels, self.anchor_labels).clamp(max=labels.numel() - 1)
        is_anchor = (labels[found] == self.anchor_labels) & (self.anchor_labels != self.positive_labels)
        return int(same_positive + counts[found][is_anchor].sum()) - self.anchors.numel()

    def to(self, device: torch.device) -> Pairs:
        """The same on another device."""
        names = ("anchors", "positives", "anchor_labels", "positive_labels")
        moved: dict[str, Any] = {name: getattr(self, name).to(device, non_blocking=True) for name in names}
        table = None if self.false_negatives is None else self.false_negatives.to(device)
        return replace(self, **moved, false_negatives=table)


@dataclass(frozen=True)
class Views:
    """A batch and its losses' pairs, by the loss's name.

    Attributes:
        batch: a `TokenBatch` of single interactions in stage 1, sessions in stage 2.
        pairs: one entry a loss.
    """

    batch: TokenBatch | SessionBatch
    pairs: dict[str, Pairs]

    def to(self, device: torch.device) -> Views:
        """The same on another device."""
        return Views(self.batch.to(device), {name: pairs.to(device) for name, pairs in self.pairs.items()})

    @property
    def num_tokens(self) -> int:
        """The number of tokens that the interaction encoder reads."""
        tokens = self.batch.tokens if isinstance(self.batch, SessionBatch) else self.batch
        return tokens.ids.numel()

    @property
    def negatives(self) -> dict[str, tuple[int, int]]:
        """By loss: the number of negatives in the denominators, and of false ones that were masked."""
        counts = {}
        for name, pairs in self.pairs.items():
            count, masked = pairs.anchors.numel(), pairs.num_masked
            counts[name] = (count * (count - 1) - masked, masked)
        return counts


def item_views(
    tokenizer: InteractionTokenizer,
    texts: TokenTable,
    items: IntArray,
    next_items: IntArray,
    losses: frozenset[str],
    rng: np.random.Generator,
    actions: IntArray | None = None,
    known: KnownNextItems | None = None,
) -> Views:
    """The batch of stage 1 (3.2.1): N products and their next ones, each also with its item tokens masked.

    Args:
        items, next_items: [N] rows of `texts`.
        losses: of `item_token_masking` (equation 1) and `next_item_pairing` (equation 2).
        actions: [N] `Action.code` of each item's interaction, to be read with it; None reads both products alone, as
            the paper does. The next item is always read alone, like the products that a session is compared with.
        known: next items of an anchor in other sessions are no negatives of it; None counts them, as the paper does.
    """
    both = np.concatenate([items, next_items])
    alone = np.full(items.size, NO_ACTION)
    acts = np.concatenate([alone if actions is None else actions, alone])
    different_acts, different, index = distinct_interactions(acts, both)
    sequences = interaction_sequences(tokenizer, texts, different_acts, different)
    pairs = {}
    if "next_item_pairing" in losses:
        # The next item of q is no negative of k where it is also k's next item, or k itself.
        table = None if known is None else known.false_negatives(items, next_items)
        pairing = (index[: items.size], index[items.size :], items, next_items)
        pairs["next_item_pairing"] = Pairs.from_arrays(*pairing, table)
    if "item_token_masking" in losses:
        masked = mask_item_tokens(interaction_sequences(tokenizer, texts, acts, both), tokenizer, rng)
        copies = different.size + np.arange(both.size)
        pairs["item_token_masking"] = Pairs.from_arrays(index, copies, both, both)
        sequences = TokenTable.concatenate([sequences, masked])
    return Views(TokenBatch.from_table(sequences), pairs)


def session_views(
    tokenizer: InteractionTokenizer,
    texts: TokenTable,
    sessions: SessionTable,
    losses: frozenset[str],
    rng: np.random.Generator,
) -> Views:
    """The batch of stage 2 (3.2.2): N sessions, each also with two interactions swapped, and with tokens masked.

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
    labels, rows = _session_labels(sessions), np.arange(len(sessions))
    pairs: dict[str, Pairs] = {
        name: Pairs.from_arrays(rows, view * len(sessions) + rows, labels, labels)
        for view, name in enumerate(names, start=1)
    }
    return Views(_concatenated(views, sessions.lengths), pairs)


def _shared_view(
    tokenizer: InteractionTokenizer, texts: TokenTable, sessions: SessionTable
) -> tuple[TokenTable, IntArray]:
    actions, rows, index = distinct_interactions(sessions.actions.astype(np.int64), sessions.rows.astype(np.int64))
    return interaction_sequences(tokenizer, texts, actions, rows), index


def _concatenated(views: list[tuple[TokenTable, IntArray]], lengths: IntArray) -> SessionBatch:
    sizes = np.array([len(sequences) for sequences, _ in views])
    firsts = np.cumsum(sizes) - sizes
    sequences = TokenTable.concatenate([sequences for sequences, _ in views])
    index = np.concatenate([index + first for (_, index), first in zip(views, firsts, strict=True)])
    return SessionBatch.from_index(sequences, index, np.tile(lengths, len(views)))


def _session_labels(sessions: SessionTable) -> IntArray:
    """[N] a number for each session, equal for sessions with the same interactions in the same order."""
    content = [
        (sessions.actions[start:stop].tobytes(), sessions.rows[start:stop].tobytes())
        for start, stop in zip(sessions.offsets[:-1], sessions.offsets[1:], strict=True)
    ]
    seen: dict[tuple[bytes, bytes], int] = {}
    return np.array([seen.setdefault(key, len(seen)) for key in content])
