"""The views of a step as a plain form reads them: each by itself, padded, every occurrence of an interaction.

They are taken from our packed views, so that every form reads the same tokens.

Letters: B sessions, S places for interactions a session, I interactions, N sequences, L places for tokens a sequence,
K vectors of our packed batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ubm_embed.data.batches.distinct_batches import SessionBatch, TokenBatch
from ubm_embed.data.batches.session_table import MAX_INTERACTIONS
from ubm_embed.data.text.tokenizer import MAX_TOKENS
from ubm_embed.training.pretraining.views import Pairs, Views


@dataclass(frozen=True, kw_only=True)
class Padding:
    """How much a form pads.

    Attributes:
        interactions: places a session is padded to; None for the longest session of the view.
        tokens: places an interaction is padded to; None for the longest interaction of the view.
        empty_places: whether the interaction encoder also runs over the places that hold no interaction, as it does
            over a dense [B, S, L] tensor.
    """

    interactions: int | None = None
    tokens: int | None = None
    empty_places: bool = True


PLAIN = Padding(interactions=MAX_INTERACTIONS, tokens=MAX_TOKENS)
LONGEST = Padding()
OCCURRENCES = Padding(empty_places=False)


@dataclass(frozen=True)
class PaddedTokens:
    """N sequences.

    Attributes:
        ids: [N, L] int64, 0 where there is no token.
        mask: [N, L] bool, where attention may look.
        lengths: [N] tokens of each; 0 where there is no interaction.
    """

    ids: Tensor
    mask: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, batch: TokenBatch, rows: Tensor, present: Tensor, padding: Padding) -> PaddedTokens:
        """Sequences `rows` [N] of a packed batch; where `present` [N] is false, a place without an interaction."""
        lengths = batch.packing.lengths[rows] * present
        places = torch.arange(padding.tokens or int(lengths.max()))
        real = places < lengths[:, None]
        # Past a sequence's end this reads another one's tokens, which are then put to 0.
        packed = (batch.packing.starts[rows][:, None] + places).clamp(max=batch.ids.numel() - 1)
        # An empty place attends to its first padding: a softmax over nothing would be NaN.
        return cls(batch.ids[packed] * real, real | (places == 0), lengths)

    def to(self, device: torch.device) -> PaddedTokens:
        """The same on another device."""
        return replace(self, ids=self.ids.to(device), mask=self.mask.to(device))


@dataclass(frozen=True)
class PaddedSessions:
    """B sessions.

    Attributes:
        tokens: B x S sequences, session by session; only the I that are there where empty places are left out.
        mask: [B, S] bool, where an interaction stands.
    """

    tokens: PaddedTokens
    mask: Tensor

    @classmethod
    def of(cls, batch: SessionBatch, rows: Tensor, padding: Padding) -> PaddedSessions:
        """Sessions `rows` [B] of a packed batch."""
        every = batch.packing.lengths
        lengths, starts = every[rows], (every.cumsum(0) - every)[rows]
        places = torch.arange(padding.interactions or int(lengths.max()))
        mask = places < lengths[:, None]
        index = batch.index[(starts[:, None] + places).clamp(max=batch.index.numel() - 1)]
        kept = torch.ones_like(mask) if padding.empty_places else mask
        return cls(PaddedTokens.of(batch.tokens, index[kept], mask[kept], padding), mask)

    def to(self, device: torch.device) -> PaddedSessions:
        """The same on another device."""
        return PaddedSessions(self.tokens.to(device), self.mask.to(device))


@dataclass(frozen=True)
class PaddedViews:
    """The views of one step, each padded by itself, and the losses' pairs among their vectors, end to end."""

    views: tuple[PaddedTokens | PaddedSessions, ...]
    pairs: Mapping[str, Pairs]

    @classmethod
    def of(cls, views: Views, padding: Padding) -> PaddedViews:
        """The same sequences, sessions and pairs as in our packed views."""
        batch = views.batch
        rows, pairs = _item_rows(views) if isinstance(batch, TokenBatch) else _session_rows(views)
        return cls(tuple(_padded(batch, one, padding) for one in rows), pairs)

    def to(self, device: torch.device) -> PaddedViews:
        """The same on another device."""
        pairs = {name: one.to(device) for name, one in self.pairs.items()}
        return PaddedViews(tuple(view.to(device) for view in self.views), pairs)

    @property
    def sequences(self) -> list[PaddedTokens]:
        """What the interaction encoder reads, view by view."""
        return [view.tokens if isinstance(view, PaddedSessions) else view for view in self.views]


def _padded(batch: TokenBatch | SessionBatch, rows: Tensor, padding: Padding) -> PaddedTokens | PaddedSessions:
    if isinstance(batch, SessionBatch):
        return PaddedSessions.of(batch, rows, padding)
    return PaddedTokens.of(batch, rows, torch.ones_like(rows, dtype=torch.bool), padding)


def _item_rows(views: Views) -> tuple[list[Tensor], dict[str, Pairs]]:
    """Stage 1: the 2N items of the pairs, then the same with tokens masked; as rows [2N] of the K vectors."""
    pairing, masking = views.pairs["next_item_pairing"], views.pairs["item_token_masking"]
    both = torch.cat([pairing.anchors, pairing.positives])
    assert torch.equal(both, masking.anchors), "masking has the pairs' items, in their order"
    items, count = torch.arange(both.numel()), pairing.anchors.numel()
    pairs = {
        "next_item_pairing": replace(pairing, anchors=items[:count], positives=items[count:]),
        "item_token_masking": replace(masking, anchors=items, positives=both.numel() + items),
    }
    return [both, masking.positives], pairs


def _session_rows(views: Views) -> tuple[list[Tensor], dict[str, Pairs]]:
    """Stage 2: the B sessions, then each augmented copy of them; as rows [B] of the K vectors."""
    anchors = next(iter(views.pairs.values())).anchors
    rows, places, pairs = [anchors], torch.arange(anchors.numel()), {}
    for name, one in views.pairs.items():
        assert torch.equal(one.anchors, anchors), "every loss compares with the sessions as they are"
        pairs[name] = replace(one, anchors=places, positives=len(rows) * anchors.numel() + places)
        rows.append(one.positives)
    return rows, pairs
