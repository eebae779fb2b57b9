"""The high level: a session's interaction vectors to one session vector (paper 3.1.3).

Letters: B sessions, I interactions of all of them, D width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertEncoder

from ubm_embed.data.batches.packing import Packing
from ubm_embed.model.layers import Layer, computing_format, every_place, layers_of, silence_branches


class SessionEncoder(nn.Module):
    """Transformer layers over interaction vectors plus sinusoidal positions; h' is the mean of the outputs o'.

    With no layers it is the mean of the interaction vectors, without positions: how the paper's BERT baselines read a
    session (4.1.3).

    A causal one reads at each interaction what came until then, and h' is its output at the last one. What happened
    last counts most, and one pass gives the vectors of all beginnings of a session.
    """

    positions: Tensor

    def __init__(
        self, *, dimension: int, layers: int, heads: int, dropout: float, max_interactions: int, causal: bool = False
    ) -> None:
        super().__init__()
        self.causal = causal
        settings: dict[str, Any] = {
            "hidden_size": dimension,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": 4 * dimension,
            "hidden_dropout_prob": dropout,
            "attention_probs_dropout_prob": dropout,
        }
        self.layers = (
            cast(nn.Module, BertEncoder(BertConfig(**settings)))  # type: ignore[no-untyped-call]
            if layers
            else None
        )
        self.register_buffer("positions", sinusoidal_positions(max_interactions, dimension), persistent=False)
        self.apply(_initialise)
        self._start_as_mean()

    def _start_as_mean(self) -> None:
        """Silence every branch beside the residual stream, so that a fresh encoder is a mean of its inputs.

        Products are sessions of length 1: a fresh encoder then puts a session near the products in it, which
        stage 1 has already arranged by meaning, where a random one scatters them.
        """
        silence_branches(self)

    def forward(self, interactions: Tensor, packing: Packing) -> Tensor:
        """Interaction vectors [I, D], sessions end to end -> session vectors h' [B, D].

        Raises:
            ValueError: a session has more interactions than there are positions; the caller keeps its last ones.
        """
        return self._read(self._layers(interactions), interactions, packing)

    def beginnings(self, interactions: Tensor, packing: Packing) -> Tensor:
        """h' of every beginning of every session, the whole one last: [I, D] float32, in the order of the interactions.

        Raises:
            ValueError: as `forward`; or the encoder is not causal, which would read a beginning by all of the session.
        """
        if not self.causal:
            raise ValueError("only a causal session encoder reads all beginnings of a session at once")
        outputs = self._outputs(self._layers(interactions), interactions, packing)
        return outputs[packing.places()].float()

    def frozen(self) -> Callable[[Tensor, Packing], Tensor]:
        """`forward` with the weights as they are now, put together once; what becomes of them later does not count."""
        twin = deepcopy(self)
        return partial(twin._read, twin._layers(twin.positions))

    def _layers(self, like: Tensor) -> list[Layer]:
        modules = nn.ModuleList() if self.layers is None else cast(nn.ModuleList, self.layers.layer)
        return layers_of(modules, computing_format(like))

    def _read(self, layers: Sequence[Layer], interactions: Tensor, packing: Packing) -> Tensor:
        outputs = self._outputs(layers, interactions, packing)
        return outputs[packing.lasts()].float() if self.causal else packing.mean(outputs)

    def _outputs(self, layers: Sequence[Layer], interactions: Tensor, packing: Packing) -> Tensor:
        """o' at every place: [T, D]."""
        longest, most = packing.longest, self.positions.shape[0]
        if longest > most:
            raise ValueError(f"a session has {longest} interactions, expected at most {most}: keep the last ones")
        hidden = interactions[packing.elements]
        if layers:
            hidden = hidden + self.positions[packing.positions].to(hidden.dtype)
        return every_place(layers, hidden, packing, causal=self.causal)


def sinusoidal_positions(length: int, dimension: int) -> Tensor:
    """Positions 0..length-1 as [length, D]: sines in even columns, cosines in odd ones (Vaswani et al. 2017, 3.5)."""
    angles = torch.arange(length).unsqueeze(1) * torch.exp(
        torch.arange(0, dimension, 2) * (-math.log(10_000.0) / dimension)
    )
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
