"""Transformer layers: the weights of BERT's layers, run by an implementation of our own over a `Packing`.

It computes what transformers computes from the same sequences, padded and masked. It saves the padding, two of the
three products for query, key and value, conversions between number formats, and, in a last layer that is read only at
the first slots, the work for all other slots.

Letters: N sequences, G tiles of W slots, T = G W slots, at most K sequences per tile, H heads, D width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as torch_dropout
from torch.nn.functional import layer_norm, linear, scaled_dot_product_attention

from ubm_embed.data.batches.packing import Packing

_MASK_LEVELS = 256


@dataclass(frozen=True)
class Affine:
    """The weights of a linear layer or a layer norm, in the format to compute in."""

    weight: Tensor
    bias: Tensor

    @classmethod
    def from_modules(cls, dtype: torch.dtype, *modules: Any) -> Affine:
        """The weights of one module, or of several linear layers with the same input, joined into one."""
        weights, biases = [module.weight.to(dtype) for module in modules], [module.bias.to(dtype) for module in modules]
        if len(modules) == 1:
            return cls(weights[0], biases[0])
        return cls(torch.cat(weights), torch.cat(biases))

    def linear(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        return linear(x, self.weight, self.bias)

    def norm(self, x: Tensor, epsilon: float) -> Tensor:
        """[..., D] -> [..., D], each row scaled to mean 0 and variance 1, then by the weights."""
        return layer_norm(x, self.weight.shape, self.weight, self.bias, epsilon)


@dataclass(frozen=True)
class Layer:
    """One post-norm Transformer layer (Vaswani et al. 2017, as in BERT).

    Attributes:
        projections: to query, key and value in one product; of a layer that is read in first slots only, two: to the
            query, and to key and value.
        heads: H.
        attention_dropout: rate for the attention weights.
        dropout: rate for each branch before it joins the residual stream.
    """

    projections: tuple[Affine, ...]
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
    def from_module(cls, layer: Any, dtype: torch.dtype, *, at_first: bool = False) -> Layer:
        """The weights of a BertLayer or ElectraLayer of transformers in a number format; with dropout in training.

        Args:
            at_first: whether the layer is for `at_first`, else for every slot.
        """
        attention, output = layer.attention.self, layer.attention.output
        query, *others = attention.query, attention.key, attention.value
        return cls(
            projections=tuple(
                Affine.from_modules(dtype, *modules)
                for modules in ([[query], others] if at_first else [[query, *others]])
            ),
            attended=Affine.from_modules(dtype, output.dense),
            attended_norm=Affine.from_modules(dtype, output.LayerNorm),
            inner=Affine.from_modules(dtype, layer.intermediate.dense),
            activation=layer.intermediate.intermediate_act_fn,
            outer=Affine.from_modules(dtype, layer.output.dense),
            outer_norm=Affine.from_modules(dtype, layer.output.LayerNorm),
            heads=attention.num_attention_heads,
            epsilon=output.LayerNorm.eps,
            attention_dropout=attention.dropout.p if layer.training else 0.0,
            dropout=output.dropout.p if layer.training else 0.0,
        )

    @property
    def format(self) -> torch.dtype:
        """The number format that it computes in."""
        return self.attended.weight.dtype

    def __call__(self, hidden: Tensor, packing: Packing, mask: Tensor | None) -> Tensor:
        """Every slot: [..., D] -> [..., D].

        Args:
            mask: the packing's `attention_mask`.
        """
        if packing.width == 1:
            return self._feed_forward(hidden, self._of_itself(hidden))
        (projection,) = self.projections
        query, key, value = self._heads(projection.linear(hidden), packing.tiles)
        attended = attention(query, key, value, mask, self.attention_dropout)
        return self._feed_forward(hidden, attended.transpose(1, 2).reshape(hidden.shape))

    def at_first(self, hidden: Tensor, packing: Packing) -> Tensor:
        """The first slot of each sequence: [..., D] -> [N, D] in the caller's order. A last layer needs no more.

        Keys and values are computed for all T slots, the queries and everything after attention for N.
        """
        hidden = hidden.to(self.format)
        width, firsts = hidden.shape[-1], packing.firsts(hidden)
        of_query, of_key_and_value = self.projections
        (query,) = self._heads(of_query.linear(firsts), packing.tiles)
        key, value = self._heads(of_key_and_value.linear(hidden), packing.tiles)
        attended = attention(query, key, value, packing.first_mask(), self.attention_dropout)
        attended = packing.by_sequence(attended.transpose(1, 2).reshape(-1, width))
        return self._feed_forward(packing.by_sequence(firsts), attended)

    def _of_itself(self, hidden: Tensor) -> Tensor:
        """What a slot that sees no other attends to, its own value: [..., D] -> [..., D]. Products are read so."""
        (joined,) = self.projections
        width = hidden.shape[-1]
        value = linear(hidden, joined.weight[2 * width :], joined.bias[2 * width :])
        if not self.attention_dropout:
            return value
        by_head = value.view(-1, self.heads, width // self.heads)
        return (by_head * dropout(torch.ones_like(by_head[:, :, :1]), self.attention_dropout)).view(hidden.shape)

    def _heads(self, projected: Tensor, tiles: int) -> Sequence[Tensor]:
        """[..., P D] -> P times [G, H, slots per tile, D / H]."""
        width = self.attended.weight.shape[1]
        split = projected.view(tiles, -1, projected.shape[-1] // width, self.heads, width // self.heads)
        return split.permute(2, 0, 3, 1, 4).unbind()

    def _feed_forward(self, hidden: Tensor, attended: Tensor) -> Tensor:
        joined = add_dropped(hidden, self.attended.linear(attended), self.dropout)
        hidden = self.attended_norm.norm(joined, self.epsilon)
        inner = self.activation(self.inner.linear(hidden))
        return self.outer_norm.norm(add_dropped(hidden, self.outer.linear(inner), self.dropout), self.epsilon)


def run_layers(layers: Sequence[Layer], hidden: Tensor, packing: Packing, *, causal: bool = False) -> Tensor:
    """One layer after the other over every slot: [..., D] -> [..., D], in the layers' format.

    Args:
        causal: a slot attends to itself and to earlier slots of its sequence, else to the whole sequence.
    """
    mask = packing.attention_mask(causal=causal)
    with _without_autocast(hidden.device):
        for layer in layers:
            hidden = layer(hidden.to(layer.format), packing, mask)
    return hidden


def run_to_first(layers: Sequence[Layer], hidden: Tensor, packing: Packing) -> Tensor:
    """One layer after the other, the last one only in the first slot of each sequence: [..., D] -> [N, D]."""
    if not layers:
        return packing.by_sequence(packing.firsts(hidden))
    hidden = run_layers(layers[:-1], hidden, packing)
    with _without_autocast(hidden.device):
        return layers[-1].at_first(hidden, packing)


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout_rate: float) -> Tensor:
    """Scaled dot-product attention: [G, H, Q, D / H] over [G, H, W, D / H] -> [G, H, Q, D / H].

    Args:
        mask: [G, 1, Q, W], the slots that each query attends to; None for all.
        dropout_rate: for the attention weights.
    """
    if not dropout_rate or query.device.type != "cpu":
        return scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout_rate)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(2, 3)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return dropout(scores.softmax(dim=3), dropout_rate) @ value


def dropout(x: Tensor, rate: float) -> Tensor:
    """`x` with elements set to 0 at about this rate and the others scaled up, so that its expectation is unchanged.

    PyTorch's masks take a double-precision random number per element on a CPU, 5 ns of a core, which is a fifth of a
    training step in bfloat16. Here an element takes one random byte, 0.3 ns, so the rate is rounded to 256ths, and the
    scale follows the rounded rate. The bytes are seeded from PyTorch's generator: the same seed gives the same masks.
    Other devices use PyTorch's masks.
    """
    if not rate or x.device.type != "cpu":
        return torch_dropout(x, rate, training=bool(rate))
    mask, scale = _dropout_mask(x, rate)
    return x * mask.mul_(scale)


def add_dropped(residual: Tensor, x: Tensor, rate: float) -> Tensor:
    """`residual` + `dropout(x, rate)`, fused on a CPU."""
    if not rate or x.device.type != "cpu":
        return residual + dropout(x, rate)
    mask, scale = _dropout_mask(x, rate)
    return torch.addcmul(residual, x, mask, value=scale)


def _dropout_mask(x: Tensor, rate: float) -> tuple[Tensor, float]:
    """A mask of 0 and 1 in the shape and format of `x`, and the factor for what it keeps."""
    threshold = min(round(rate * _MASK_LEVELS), _MASK_LEVELS - 1)
    seed = int(torch.randint(2**62, ()))
    words = np.random.Generator(np.random.SFC64(seed)).integers(0, 2**64, math.ceil(x.numel() / 8), dtype=np.uint64)
    mask = words.view(np.uint8)[: x.numel()] >= threshold
    # By way of bytes: PyTorch converts bool to floats five times as slowly.
    return torch.from_numpy(mask.view(np.uint8)).to(x.dtype).view(x.shape), _MASK_LEVELS / (_MASK_LEVELS - threshold)


def computing_format(weight: Tensor) -> torch.dtype:
    """The number format to compute in: autocast's if it is on, else the weight's own."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def _without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Layers are in their format already; autocast on a GPU would turn the output of each layer norm into float32."""
    return torch.autocast(device.type, enabled=False) if torch.is_autocast_enabled(device.type) else nullcontext()


def layers_from_modules(modules: Sequence[Any], dtype: torch.dtype, *, last_at_first: bool = False) -> list[Layer]:
    """The layers of an encoder of transformers, in a number format, for `run_layers` or for `run_to_first`."""
    last = len(modules) - 1 if last_at_first else None
    return [Layer.from_module(module, dtype, at_first=number == last) for number, module in enumerate(modules)]


def sinusoidal_positions(length: int, dimension: int) -> Tensor:
    """Positions 0..length-1 as [length, D]: sines in even columns, cosines in odd ones (Vaswani et al. 2017, 3.5)."""
    angles = torch.arange(length).unsqueeze(1) * torch.exp(
        torch.arange(0, dimension, 2) * (-math.log(10_000.0) / dimension)
    )
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


def zero_branches(encoder: nn.Module) -> None:
    """Zero what attention and the feed-forward part of each layer of transformers add to the residual stream."""
    for name, parameter in encoder.named_parameters():
        if name.endswith("output.dense.weight"):
            nn.init.zeros_(parameter)
