"""A baseline for pre-training: padded sessions with attention masks, every occurrence of an interaction encoded.

This is what a straightforward implementation of the paper does. It reads the same views as ours and has the same
weights, so its losses without dropout are equal to ours; only the work differs. Layers and attention are those of
transformers.

Letters: B sessions, S interaction slots a session, N sequences, L token slots a sequence, D width.
"""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModel, BertConfig, PreTrainedConfig
from transformers.models.bert.modeling_bert import BertEncoder

from benchmarks.training.padded_views import PaddedSessions, PaddedTokens, PaddedViews
from ubm_embed.model.config import UBMConfig
from ubm_embed.model.user_behavior_model import UserBehaviorModel

_AUTO_MODEL: Any = AutoModel  # the methods used here are untyped
_ATTENTION = "sdpa"


class PaddedModel(nn.Module):
    """A copy of a `UserBehaviorModel` that runs on padded tensors."""

    positions: Tensor

    def __init__(self, model: UserBehaviorModel) -> None:
        super().__init__()
        interaction_encoder = model.interaction_encoder
        self.encoder = _interaction_layers(interaction_encoder.encoder.config)
        self.encoder.load_state_dict(interaction_encoder.encoder.state_dict())
        self.projection = copy.deepcopy(interaction_encoder.projection)
        self.session_layers = _session_layers(model.config)
        assert model.session_encoder.layers is not None, "the padded model needs a session encoder with a layer"
        self.session_layers.load_state_dict(model.session_encoder.layers.state_dict())
        self.register_buffer("positions", model.session_encoder.positions.clone(), persistent=False)
        self.to(model.device).train(model.training)

    def forward(self, views: PaddedViews) -> Tensor:
        """The views, each encoded separately -> their vectors, concatenated: [views x B, D]."""
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
        if vectors.shape[0] != mask.numel():  # empty slots were left out
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
