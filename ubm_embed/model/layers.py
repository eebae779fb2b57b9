"""Transformer layers over packed sequences: the weights of BERT's layers, read by an implementation of our own.

What it computes is what transformers computes of the same sequences padded and masked. What it saves: padding, three
products for query, key and value where one will do, conversions between number formats, and in a last layer of which
only some places are read, the work of all others.

Letters: N sequences, G tiles of W places, T = G W places, K sequences a tile at most, H heads, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear, scaled_dot_product_attention

from ubm_embed.data.batches.packing import Packing
from ubm_embed.model.dropout import add_dropped, dropout


@dataclass(frozen=True)
class Affine:
    """A linear layer's or a layer norm's weights, in the format that is computed in."""

    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, dtype: torch.dtype, *modules: Any) -> Affine:
        """Of a module; of several linear layers that read the same input, as one with all their outputs."""
        weights, biases = [module.weight.to(dtype) for module in modules], [module.bias.to(dtype) for module in modules]
        if len(modules) == 1:
            return cls(weights[0], biases[0])
        return cls(torch.cat(weights), torch.cat(biases))

    def linear(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        return linear(x, self.weight, self.bias)

    def norm(self, x: Tensor, epsilon: float) -> Tensor:
        """[..., D] -> [..., D], each row of mean 0 and variance 1, then scaled."""
        return layer_norm(x, self.weight.shape, self.weight, self.bias, epsilon)


@dataclass(frozen=True)
class Layer:
    """One post-norm Transformer layer (Vaswani et al. 2017, as in BERT).

    Attributes:
        heads: H.
        attention_dropout, dropout: of the attention's weights, and of each branch before it joins the residual stream.
    """

    projections: Affine
    attended: Affine
    attended_norm: Affine
    inner: Affine
    activation: Callable[[Tensor], Tensor]
    outer: Affine
    outer_norm: Affine
    heads: int
    epsilon: float
    attention_dropout: float
    dropout: float

    @classmethod
    def of(cls, layer: Any, dtype: torch.dtype) -> Layer:
        """The weights of a BertLayer or ElectraLayer of transformers, in a number format; with dropout in training."""
        attention, output = layer.attention.self, layer.attention.output
        share = 1.0 if layer.training else 0.0
        return cls(
            projections=Affine.of(dtype, attention.query, attention.key, attention.value),
            attended=Affine.of(dtype, output.dense),
            attended_norm=Affine.of(dtype, output.LayerNorm),
            inner=Affine.of(dtype, layer.intermediate.dense),
            activation=layer.intermediate.intermediate_act_fn,
            outer=Affine.of(dtype, layer.output.dense),
            outer_norm=Affine.of(dtype, layer.output.LayerNorm),
            heads=attention.num_attention_heads,
            epsilon=output.LayerNorm.eps,
            attention_dropout=attention.dropout.p * share,
            dropout=output.dropout.p * share,
        )

    @property
    def format(self) -> torch.dtype:
        """What it computes in."""
        return self.projections.weight.dtype

    def __call__(self, hidden: Tensor, packing: Packing, mask: Tensor | None) -> Tensor:
        """Every place: [T, D] -> [T, D]."""
        query, key, value = self._heads(self.projections.linear(hidden), packing.tiles)
        attended = attention(query, key, value, mask, self.attention_dropout)
        return self._feed_forward(hidden, attended.transpose(1, 2).reshape(hidden.shape))

    def at_heads(self, hidden: Tensor, packing: Packing) -> Tensor:
        """The first place of each sequence alone: [T, D] -> [N, D] in the caller's order. The last layer needs no more.

        Queries, and all that follows attention, are computed for N places, keys and values for T.
        """
        width, tiles = hidden.shape[1], packing.tiles
        hidden = hidden.to(self.format)
        own = Affine(self.projections.weight[:width], self.projections.bias[:width])
        others = Affine(self.projections.weight[width:], self.projections.bias[width:])
        (query,) = self._heads(own.linear(hidden[packing.heads()]), tiles)
        key, value = self._heads(others.linear(hidden), tiles)
        members = packing.members()
        mask = None if members is None else (members | ~members.any(dim=2, keepdim=True)).unsqueeze(1)
        attended = attention(query, key, value, mask, self.attention_dropout)
        attended = attended.transpose(1, 2).reshape(-1, width)[packing.rank]
        return self._feed_forward(hidden[packing.starts], attended)

    def _heads(self, projected: Tensor, tiles: int) -> Sequence[Tensor]:
        """[places, P D] -> P times [G, H, places a tile, D / H]."""
        width = self.attended.weight.shape[1]
        split = projected.view(tiles, -1, projected.shape[1] // width, self.heads, width // self.heads)
        return split.permute(2, 0, 3, 1, 4).unbind()

    def _feed_forward(self, hidden: Tensor, attended: Tensor) -> Tensor:
        joined = add_dropped(hidden, self.attended.linear(attended), self.dropout)
        hidden = self.attended_norm.norm(joined, self.epsilon)
        inner = self.activation(self.inner.linear(hidden))
        return self.outer_norm.norm(add_dropped(hidden, self.outer.linear(inner), self.dropout), self.epsilon)


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, share: float) -> Tensor:
    """Scaled dot-product attention: [G, H, Q, D / H] over [G, H, W, D / H] -> [G, H, Q, D / H].

    Args:
        mask: [G, 1, Q, W] bool, which places each one attends to; None for all.
        share: how much of the attention's weights to drop.
    """
    if not share or query.device.type != "cpu":
        return scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=share)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(2, 3)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return dropout(scores.softmax(dim=3), share) @ value


def every_place(layers: Sequence[Layer], hidden: Tensor, packing: Packing, *, causal: bool = False) -> Tensor:
    """One layer after the other, at every place: [T, D] -> [T, D], in the layers' format.

    Args:
        causal: a place reads itself and those before it in its sequence, else all of the sequence.
    """
    mask = packing.attention_mask(causal=causal)
    with torch.autocast(
        hidden.device.type, enabled=False
    ):  # on a GPU it would turn each layer norm's output to float32
        for layer in layers:
            hidden = layer(hidden.to(layer.format), packing, mask)
    return hidden


def computing_format(weight: Tensor) -> torch.dtype:
    """What to compute in: autocast's format where that is on, else the weights' own."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def layers_of(modules: nn.ModuleList, dtype: torch.dtype) -> list[Layer]:
    """The layers of an encoder of transformers, in a number format."""
    return [Layer.of(module, dtype) for module in modules]


def silence_branches(encoder: nn.Module) -> None:
    """Set to 0 what attention and the feed-forward part of each layer of transformers add to the residual stream."""
    for name, parameter in encoder.named_parameters():
        if name.endswith("output.dense.weight"):
            nn.init.zeros_(parameter)
