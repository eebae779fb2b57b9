"""The model over padded, dense tensors: what other runtimes can take, with the weights and results of the packed one.

Letters: N sequences, L places for tokens, B sessions, S places for interactions, D width.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize, scaled_dot_product_attention
from transformers import AutoModel, BertConfig, PreTrainedConfig
from transformers.models.bert.modeling_bert import BertEncoder

from ubm_embed.data.batches.distinct_batches import TokenBatch
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.model.user_behavior_model import UBMConfig, UserBehaviorModel

# PyTorch's own attention, which every exporter knows.
_ATTENTION = "sdpa"
_AUTO_MODEL: Any = AutoModel  # untyped, as far as it is used here


class DenseInteractions(nn.Module):
    """Token ids to interaction vectors b'."""

    def __init__(self, model: UserBehaviorModel) -> None:
        super().__init__()
        theirs = model.interaction_encoder
        encoder: Any = _text_layers(theirs.encoder.config)
        encoder.load_state_dict(theirs.encoder.state_dict())
        layers = encoder.encoder.layer
        if theirs.mean_of_tokens:
            self.last = None
        else:
            encoder.encoder.layer, self.last = layers[:-1], layers[-1]
        self.encoder, self.projection = encoder, theirs.projection
        self.eval()

    def forward(self, ids: Tensor, mask: Tensor, known: Tensor | None = None) -> Tensor:
        """Ids [N, L] and where there are any, 1 or 0 [N, L], both int64 -> [N, D].

        Args:
            known: [N, D] what is known of the texts beside their words, where the model has `KnownTexts`.
        """
        barred = _barred(mask)
        hidden = self.encoder(
            input_ids=ids, attention_mask=barred, token_type_ids=torch.zeros_like(ids)
        ).last_hidden_state
        read = _mean(hidden, mask) if self.last is None else _first_place(self.last, hidden, barred)
        vectors = cast(Tensor, self.projection(read))
        return vectors if known is None else vectors + known


class DenseSessions(nn.Module):
    """Interaction vectors to unit vectors of sessions."""

    positions: Tensor

    def __init__(self, model: UserBehaviorModel) -> None:
        super().__init__()
        theirs = model.session_encoder
        self.layers = None if theirs.layers is None else _session_layers(model.config)
        if self.layers is not None:
            self.layers.load_state_dict(cast(nn.Module, theirs.layers).state_dict())
        self.register_buffer("positions", theirs.positions.clone())
        self.causal = theirs.causal
        self.eval()

    def forward(self, interactions: Tensor, mask: Tensor) -> Tensor:
        """b' [B, S, D] and where there are any, 1 or 0, int64 [B, S] -> [B, D]."""
        outputs = interactions
        if self.layers is not None:
            placed = interactions + self.positions[: interactions.shape[1]]
            barred = _barred_and_later(mask) if self.causal else _barred(mask)
            outputs = self.layers(placed, barred).last_hidden_state
        return normalize(_last(outputs, mask) if self.causal else _mean(outputs, mask), dim=1)


class DenseProducts(nn.Module):
    """Token ids of products alone to their unit vectors: each a session of length 1 (paper 3.4.3)."""

    def __init__(self, model: UserBehaviorModel) -> None:
        super().__init__()
        self.interactions, self.sessions = DenseInteractions(model), DenseSessions(model)

    def forward(self, ids: Tensor, mask: Tensor, known: Tensor | None = None) -> Tensor:
        """As `DenseInteractions`: [N, D]."""
        alone = self.interactions(ids, mask, known)[:, None]
        return cast(Tensor, self.sessions(alone, torch.ones_like(mask[:, :1])))


def _barred(mask: Tensor) -> Tensor:
    """What is added to attention's scores, 0 or a number so low that nothing is left: [N, L] -> [N, 1, 1, L]."""
    # Not -inf, nor booleans: exporters would look for rows in which nothing is left, of which there are none.
    return (1.0 - mask[:, None, None, :].float()) * -1e9


def _barred_and_later(mask: Tensor) -> Tensor:
    """The same where a place reads none after it: [N, L] -> [N, 1, L, L]."""
    places = torch.arange(mask.shape[1], device=mask.device)
    later = (places[None, :] > places[:, None]).float() * -1e9
    return _barred(mask) + later


def _mean(outputs: Tensor, mask: Tensor) -> Tensor:
    """Over the places where there are any: [N, L, E], [N, L] -> [N, E]."""
    weights = mask[:, :, None].to(outputs.dtype)
    return (outputs * weights).sum(dim=1) / weights.sum(dim=1)


def _last(outputs: Tensor, mask: Tensor) -> Tensor:
    """At the last place that there is: [N, L, E], [N, L] -> [N, E]."""
    number = mask.cumsum(dim=1)
    is_last = mask * (number == number[:, -1:]).to(mask.dtype)
    return (outputs * is_last[:, :, None].to(outputs.dtype)).sum(dim=1)


def _first_place(layer: Any, hidden: Tensor, barred: Tensor) -> Tensor:
    """A last layer at the first place alone, all that is read of it: [N, L, E] -> [N, E]."""
    attention, first = layer.attention.self, hidden[:, :1]
    shape = (hidden.shape[0], -1, attention.num_attention_heads, attention.attention_head_size)
    query, key, value = (
        part(x).view(shape).transpose(1, 2)
        for part, x in ((attention.query, first), (attention.key, hidden), (attention.value, hidden))
    )
    found = scaled_dot_product_attention(query, key, value, attn_mask=barred).transpose(1, 2).flatten(2)
    attended = layer.attention.output(found, first)
    return cast(Tensor, layer.output(layer.intermediate(attended), attended)[:, 0])


def dense_inputs(model: UserBehaviorModel, sequences: TokenTable) -> dict[str, NDArray[Any]]:
    """What `DenseInteractions` takes of N sequences, by name: ids, mask, and known where the model has known texts."""
    ids, mask = padded(sequences)
    known = model.interaction_encoder.known
    if known is None:
        return {"ids": ids, "mask": mask}
    with torch.inference_mode():
        return {"ids": ids, "mask": mask, "known": known(TokenBatch.from_table(sequences).to(model.device)).cpu().numpy()}


def padded(sequences: TokenTable) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sequences as `DenseInteractions` takes them, to the longest of them: ids and mask, [N, L] each."""
    present = np.arange(sequences.lengths.max()) < sequences.lengths[:, None]
    ids = np.zeros(present.shape, np.int64)
    ids[present] = sequences.ids
    return ids, present.astype(np.int64)


def _text_layers(config: PreTrainedConfig) -> nn.Module:
    pooler = {"add_pooling_layer": False} if config.model_type == "bert" else {}
    plain = type(config)(**config.to_dict())
    return cast(nn.Module, _AUTO_MODEL.from_config(plain, attn_implementation=_ATTENTION, **pooler))


def _session_layers(config: UBMConfig) -> nn.Module:
    settings: dict[str, Any] = {
        "hidden_size": config.dimension,
        "num_hidden_layers": config.session_layers,
        "num_attention_heads": config.session_heads,
        "intermediate_size": 4 * config.dimension,
        "attn_implementation": _ATTENTION,
    }
    return cast(nn.Module, BertEncoder(BertConfig(**settings)))  # type: ignore[no-untyped-call]
