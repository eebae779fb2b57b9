"""Pre-training in its plain form, as a baseline: padded sessions with attention masks, every occurrence encoded.

What a straightforward implementation of the paper does. It reads the same views as ours and has the same weights, so
with dropout off its losses are ours; only the work differs. Attention is PyTorch's own, as transformers calls it.

Letters: B sessions, S places for interactions a session, I interactions, N sequences, L places for tokens a sequence,
D width, K vectors of our packed batch.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModel, BertConfig, PreTrainedConfig
from transformers.models.bert.modeling_bert import BertEncoder

from ubm_embed.data.batches import SessionBatch, TokenBatch
from ubm_embed.data.packing import Packing
from ubm_embed.data.session_table import MAX_INTERACTIONS
from ubm_embed.data.tokenizer import MAX_TOKENS
from ubm_embed.model.user_behavior_model import UBMConfig, UserBehaviorModel
from ubm_embed.training.views import Pairs, Views

_AUTO_MODEL: Any = AutoModel  # untyped, as far as it is used here
_ATTENTION = "sdpa"


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
        interactions: how many of the N are interactions, not empty places.
        tokens: how many of the N x L are tokens, not padding.
    """

    ids: Tensor
    mask: Tensor
    interactions: int
    tokens: int

    @classmethod
    def of(cls, batch: TokenBatch, rows: Tensor, present: Tensor, padding: Padding) -> PaddedTokens:
        """Sequences `rows` [N] of a packed batch; where `present` [N] is false, a place without an interaction."""
        lengths = lengths_of(batch.packing)[rows] * present
        places = torch.arange(padding.tokens or int(lengths.max()))
        real = places < lengths[:, None]
        # Past a sequence's end this reads another one's tokens, which are then put to 0.
        packed = (batch.packing.starts[rows][:, None] + places).clamp(max=batch.ids.numel() - 1)
        # An empty place attends to its first padding: a softmax over nothing would be NaN.
        return cls(batch.ids[packed] * real, real | (places == 0), int(present.sum()), int(real.sum()))

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
        every = lengths_of(batch.packing)
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
        "next_item_pairing": Pairs(items[:count], items[count:], pairing.same),
        "item_token_masking": Pairs(items, both.numel() + items, masking.same),
    }
    return [both, masking.positives], pairs


def _session_rows(views: Views) -> tuple[list[Tensor], dict[str, Pairs]]:
    """Stage 2: the B sessions, then each augmented copy of them; as rows [B] of the K vectors."""
    anchors = next(iter(views.pairs.values())).anchors
    rows, places, pairs = [anchors], torch.arange(anchors.numel()), {}
    for name, one in views.pairs.items():
        assert torch.equal(one.anchors, anchors), "every loss compares with the sessions as they are"
        pairs[name] = Pairs(places, len(rows) * anchors.numel() + places, one.same)
        rows.append(one.positives)
    return rows, pairs


def lengths_of(packing: Packing) -> Tensor:
    """[N] the length of each sequence, in the caller's order."""
    counts, lengths = torch.tensor(packing.blocks).unbind(1)
    return lengths.repeat_interleave(counts)[packing.rank]


class PlainModel(nn.Module):
    """A model with the weights of a `UserBehaviorModel` that runs on padded tensors."""

    positions: Tensor

    def __init__(self, model: UserBehaviorModel) -> None:
        super().__init__()
        theirs = model.interaction_encoder
        self.encoder = _interaction_layers(theirs.encoder.config)
        self.encoder.load_state_dict(theirs.encoder.state_dict())
        self.projection = copy.deepcopy(theirs.projection)
        self.session_layers = _session_layers(model.config)
        assert model.session_encoder.layers is not None, "the plain form has a session encoder of one layer and more"
        self.session_layers.load_state_dict(model.session_encoder.layers.state_dict())
        self.register_buffer("positions", model.session_encoder.positions.clone(), persistent=False)
        self.to(model.device).train(model.training)

    def forward(self, views: PaddedViews) -> Tensor:
        """Each view by itself -> the vectors of all, end to end: [views x B, D]."""
        encoded = [
            self.sessions(view) if isinstance(view, PaddedSessions) else self.interactions(view) for view in views.views
        ]
        return torch.cat(encoded)

    def interactions(self, tokens: PaddedTokens) -> Tensor:
        """N sequences -> b' [N, D]."""
        hidden = self.encoder(input_ids=tokens.ids, attention_mask=tokens.mask).last_hidden_state
        return cast(Tensor, self.projection(hidden[:, 0]))

    def sessions(self, sessions: PaddedSessions) -> Tensor:
        """B sessions -> h' [B, D]."""
        vectors, mask = self.interactions(sessions.tokens), sessions.mask
        if vectors.shape[0] != mask.numel():  # empty places were left out
            vectors = vectors.new_zeros(mask.numel(), vectors.shape[1]).index_put(
                (mask.flatten().nonzero()[:, 0],), vectors
            )
        dense = vectors.view(*mask.shape, -1) + self.positions[: mask.shape[1]].to(vectors.dtype)
        outputs = self.session_layers(dense, mask[:, None, None, :]).last_hidden_state
        weights = mask[:, :, None].to(outputs.dtype)
        return cast(Tensor, (outputs * weights).sum(dim=1) / weights.sum(dim=1))


def _interaction_layers(config: PreTrainedConfig) -> nn.Module:
    pooler = {"add_pooling_layer": False} if config.model_type == "bert" else {}
    plain = type(config)(**config.to_dict())
    return cast(nn.Module, _AUTO_MODEL.from_config(plain, attn_implementation=_ATTENTION, **pooler))


def _session_layers(config: UBMConfig) -> nn.Module:
    settings: dict[str, Any] = {
        "hidden_size": config.dimension,
        "num_hidden_layers": config.session_layers,
        "num_attention_heads": config.session_heads,
        "intermediate_size": 4 * config.dimension,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.dropout,
        "attn_implementation": _ATTENTION,
    }
    return cast(nn.Module, BertEncoder(BertConfig(**settings)))  # type: ignore[no-untyped-call]
