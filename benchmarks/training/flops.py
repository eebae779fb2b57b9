"""Floating-point operations: those of a training step, and the most that this machine does in a second.

A step's operations are counted from real tokens alone, so padding adds none. A multiply-add is two operations. Counted
are the matrix products of both encoders: projections, attention over each sequence's own length, feed-forward. Not
counted are embeddings, a projection to another width, norms, activations, losses and the optimizer: a few per cent.

Letters: N sequences, T elements of all of them, D width, F width inside the feed-forward part.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from ubm_embed.model.user_behavior_model import UserBehaviorModel

# Backward is two products for each one of forward: a gradient of the input and one of the weights.
_FORWARD_AND_BACKWARD = 3

Shape = tuple[int, int, int]
# Rows, inner, columns of square products, and of those in a wide batch of the paper's encoder.
SHAPES: tuple[Shape, ...] = ((2048, 2048, 2048), (4096, 4096, 4096), (16384, 1024, 1024))
GPU_SHAPES: tuple[Shape, ...] = (*SHAPES, (8192, 8192, 8192), (16384, 8192, 8192))
_REPEATS = 7


@dataclass(frozen=True)
class EncoderSize:
    """A BERT-like encoder: its number of layers, D and F."""

    layers: int
    width: int
    inner: int

    @classmethod
    def from_config(cls, config: PreTrainedConfig) -> EncoderSize:
        """The size in transformers' settings."""
        return cls(config.num_hidden_layers, config.hidden_size, config.intermediate_size)

    def forward(self, lengths: Tensor, *, cls_only: bool = False) -> int:
        """Operations of a forward pass over sequences of these lengths [N].

        Args:
            cls_only: the last layer computes only the first element of each sequence, as for an interaction's vector:
                keys and values for all T, everything else for N.
        """
        tokens, pairs, sequences = int(lengths.sum()), int((lengths**2).sum()), int((lengths > 0).sum())
        full = self._layer(tokens, tokens, pairs)
        last = self._layer(tokens, sequences, tokens) if cls_only else full
        return (self.layers - 1) * full + last

    def _layer(self, keys: int, queries: int, pairs: int) -> int:
        """Operations of one layer, from its numbers of keys, of queries, and of (query, key) pairs."""
        square = self.width**2
        key_and_value, query_and_output = 2 * square * keys, 2 * square * queries
        scores_and_means, feed_forward = 2 * self.width * pairs, 2 * self.width * self.inner * queries
        return 2 * (key_and_value + query_and_output + scores_and_means + feed_forward)


@dataclass(frozen=True)
class StepSize:
    """Both encoders of a model.

    Attributes:
        cls_only: whether the interaction encoder's last layer computes `[CLS]` alone.
    """

    interactions: EncoderSize
    sessions: EncoderSize
    cls_only: bool

    @classmethod
    def from_model(cls, model: UserBehaviorModel, *, cls_only: bool) -> StepSize:
        """The sizes of a model's encoders."""
        width = model.config.dimension
        sessions = EncoderSize(model.config.session_layers, width, 4 * width)
        return cls(EncoderSize.from_config(model.interaction_encoder.encoder.config), sessions, cls_only)

    def step(self, tokens: Tensor, interactions: Tensor | None = None) -> int:
        """Operations of forward and backward.

        Args:
            tokens: [N] tokens of each sequence in the interaction encoder; 0 for an empty slot.
            interactions: [B] interactions of each session; None in stage 1, which reads no sessions.
        """
        forward = self.interactions.forward(tokens, cls_only=self.cls_only)
        if interactions is not None:
            forward += self.sessions.forward(interactions)
        return _FORWARD_AND_BACKWARD * forward


def parse_shape(text: str) -> Shape:
    """The shape "ROWSxINNERxCOLUMNS" of a command line."""
    rows, inner, columns = (int(part) for part in text.split("x"))
    return rows, inner, columns


def peak_flops(device: torch.device | str, precision: str, shapes: Sequence[Shape] | None = None) -> dict[str, Any]:
    """The ceiling: operations per second of the best matrix product, and the median `seconds` of each, by "RxIxC".

    Args:
        precision: "float32" or "bfloat16".
        shapes: the products to try; None for those that suit the device.
    """
    device = torch.device(device)
    shapes = shapes or (GPU_SHAPES if device.type == "cuda" else SHAPES)
    seconds = {"x".join(map(str, shape)): _seconds(device, precision, shape) for shape in shapes}
    rates = [2 * rows * inner * columns / seconds[f"{rows}x{inner}x{columns}"] for rows, inner, columns in shapes]
    return {"flops": max(rates), "seconds": seconds}


def _seconds(device: torch.device, precision: str, shape: Shape) -> float:
    """Median time of one product, after one warm-up."""
    rows, inner, columns = shape
    options: dict[str, Any] = {"device": device, "dtype": getattr(torch, precision)}
    left, right, out = torch.randn(rows, inner, **options), torch.randn(inner, columns, **options), None
    times = []
    for _ in range(1 + _REPEATS):
        synchronize(device)
        started = time.perf_counter()
        out = torch.matmul(left, right, out=out)
        synchronize(device)
        times.append(time.perf_counter() - started)
    return median(times[1:])


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
