"""The views of a step as a padded variant reads them: view by view, with every occurrence of an interaction.

They are taken from our packed views, so all variants read the same tokens.

Letters: B sessions, S interaction slots a session, I interactions, N sequences, L token slots a sequence, K vectors of
our packed batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ubm_embed.data.batches.packing import SessionBatch, TokenBatch
from ubm_embed.data.batches.session_table import MAX_INTERACTIONS
from ubm_embed.data.text.tokenizer import MAX_TOKENS
from ubm_embed.training.pretraining.views import Pairs, Views


@dataclass(frozen=True, kw_only=True)
class Padding:
    """How much a variant pads.

    Attributes:
        interactions: slots that a session is padded to; None for the longest session of the view.
        tokens: slots that an interaction is padded to; None for the longest interaction of the view.
        empty_slots: whether the interaction encoder also runs over slots without an interaction, as it does over a
            dense [B, S, L] tensor.
    """

    interactions: int | None = None
    tokens: int | None = None
    empty_slots: bool = True


FULL = Padding(interactions=MAX_INTERACTIONS, tokens=MAX_TOKENS)
LONGEST = Padding()
OCCURRENCES = Padding(empty_slots=False)


@dataclass(frozen=True)
class PaddedTokens:
    """N sequences.

    Attributes:
        ids: [N, L] int64, 0 where there is no token.
        mask: [N, L] bool, what attention may see.
        lengths: [N] tokens of each; 0 for a slot without an interaction.
    """

    ids: Tensor
    mask: Tensor
    lengths: Tensor

    @classmethod
    def from_packed(cls, batch: TokenBatch, rows: Tensor, present: Tensor, padding: Padding) -> PaddedTokens:
        """Sequences `rows` [N] of a packed batch; where `present` [N] is false, an empty slot."""
        lengths = batch.packing.lengths[rows] * present
        slots = torch.arange(padding.tokens or int(lengths.max()))
        real = slots < lengths[:, None]
        # Past a sequence's end this reads tokens of another one, which are then set to 0.
        packed = (batch.packing.starts[rows][:, None] + slots).clamp(max=batch.ids.numel() - 1)
        # An empty slot attends to its first padding: a softmax over nothing would be NaN.
        return cls(batch.ids[packed] * real, real | (slots == 0), lengths)

    def to(self, device: torch.device) -> PaddedTokens:
        """The same on another device."""
        return replace(self, ids=self.ids.to(device), mask=self.mask.to(device))


@dataclass(frozen=True)
class PaddedSessions:
    """B sessions.

    Attributes:
        tokens: B x S sequences, session by session; only the I interactions where empty slots are left out.
        mask: [B, S] bool, which slots hold an interaction.
    """

    tokens: PaddedTokens
    mask: Tensor

    @classmethod
    def from_packed(cls, batch: SessionBatch, rows: Tensor, padding: Padding) -> PaddedSessions:
        """Sessions `rows` [B] of a packed batch."""
        all_lengths = batch.packing.lengths
        lengths, starts = all_lengths[rows], (all_lengths.cumsum(0) - all_lengths)[rows]
        slots = torch.arange(padding.interactions or int(lengths.max()))
        mask = slots < lengths[:, None]
        index = batch.index[(starts[:, None] + slots).clamp(max=batch.index.numel() - 1)]
        encoded = torch.ones_like(mask) if padding.empty_slots else mask
        return cls(PaddedTokens.from_packed(batch.tokens, index[encoded], mask[encoded], padding), mask)

    def to(self, device: torch.device) -> PaddedSessions:
        """The same on another device."""
        return PaddedSessions(self.tokens.to(device), self.mask.to(device))


@dataclass(frozen=True)
class PaddedViews:
    """The views of one step, each padded separately, and the losses' pairs among their concatenated vectors."""

    views: tuple[PaddedTokens | PaddedSessions, ...]
    pairs: Mapping[str, Pairs]

    @classmethod
    def from_packed(cls, views: Views, padding: Padding) -> PaddedViews:
        """The same sequences, sessions and pairs as in our packed views."""
        batch = views.batch
        rows, pairs = _item_rows(views) if isinstance(batch, TokenBatch) else _session_rows(views)
        return cls(tuple(_padded(batch, view, padding) for view in rows), pairs)

    def to(self, device: torch.device) -> PaddedViews:
        """The same on another device."""
        pairs = {name: pair.to(device) for name, pair in self.pairs.items()}
        return PaddedViews(tuple(view.to(device) for view in self.views), pairs)

    @property
    def sequences(self) -> list[PaddedTokens]:
        """The interaction encoder's input, view by view."""
        return [view.tokens if isinstance(view, PaddedSessions) else view for view in self.views]


def _padded(batch: TokenBatch | SessionBatch, rows: Tensor, padding: Padding) -> PaddedTokens | PaddedSessions:
    if isinstance(batch, SessionBatch):
        return PaddedSessions.from_packed(batch, rows, padding)
    return PaddedTokens.from_packed(batch, rows, torch.ones_like(rows, dtype=torch.bool), padding)


def _item_rows(views: Views) -> tuple[list[Tensor], dict[str, Pairs]]:
    """Stage 1: the 2N items of the pairs, then their masked copies; as rows [2N] of the K vectors."""
    pairing, masking = views.pairs["next_item_pairing"], views.pairs["item_token_masking"]
    both = torch.cat([pairing.anchors, pairing.positives])
    assert torch.equal(both, masking.anchors), "masking reads the items of the pairs, in the same order"
    items, count = torch.arange(both.numel()), pairing.anchors.numel()
    pairs = {
        "next_item_pairing": replace(pairing, anchors=items[:count], positives=items[count:]),
        "item_token_masking": replace(masking, anchors=items, positives=both.numel() + items),
    }
    return [both, masking.positives], pairs


def _session_rows(views: Views) -> tuple[list[Tensor], dict[str, Pairs]]:
    """Stage 2: the B sessions, then each of their augmented copies; as rows [B] of the K vectors."""
    anchors = next(iter(views.pairs.values())).anchors
    rows, sessions, pairs = [anchors], torch.arange(anchors.numel()), {}
    for name, pair in views.pairs.items():
        assert torch.equal(pair.anchors, anchors), "every loss compares with the unchanged sessions"
        pairs[name] = replace(pair, anchors=sessions, positives=len(rows) * anchors.numel() + sessions)
        rows.append(pair.positives)
    return rows, pairs
