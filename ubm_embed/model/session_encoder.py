"""The session encoder: Transformer layers over the interactions of a session.

Letters: B sessions with I interactions in all, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any, cast

from torch import Tensor, nn

from ubm_embed.data.batches.packing import Packing
from ubm_embed.model.bert import fresh_layers
from ubm_embed.model.transformer import (
    Layer,
    computing_format,
    layers_from_modules,
    run_layers,
    sinusoidal_positions,
)


class SessionEncoder(nn.Module):
    """The high level (paper 3.1.3): Transformer layers over b' plus sinusoidal positions; h' is the mean of o'.

    Without layers it is the mean of the interaction vectors, without positions: how the paper's BERT baselines read a
    session (4.1.3).

    A causal one attends to earlier interactions only, and h' is its output at the last one. The last interaction then
    counts most, and one pass gives the vectors of all prefixes of a session.
    """

    positions: Tensor

    def __init__(
        self, *, dimension: int, layers: int, heads: int, dropout: float, max_interactions: int, causal: bool = False
    ) -> None:
        super().__init__()
        self.causal = causal
        self.layers = fresh_layers(dimension, layers, heads, dropout) if layers else None
        self.register_buffer("positions", sinusoidal_positions(max_interactions, dimension), persistent=False)

    def forward(self, interactions: Tensor, packing: Packing, layers: Sequence[Layer] | None = None) -> Tensor:
        """Interaction vectors [I, D], sessions end to end -> session vectors h' [B, D]. `layers` as `layers_like`.

        Raises:
            ValueError: a session is longer than `max_interactions`; the caller keeps its last ones.
        """
        layers = self.layers_like(interactions) if layers is None else layers
        outputs = self._outputs(self._by_slot(interactions, packing), packing, layers)
        return packing.last(outputs).float() if self.causal else packing.mean(outputs)

    def prefixes(self, interactions: Tensor, packing: Packing) -> Tensor:
        """h' of every prefix of every session, the whole one last: [I, D] float32, in the order of the interactions.

        Raises:
            ValueError: as `forward`; or the encoder is not causal, and would read a prefix with the whole session.
        """
        if not self.causal:
            raise ValueError("only a causal session encoder reads all prefixes of a session at once")
        outputs = self._outputs(self._by_slot(interactions, packing), packing, self.layers_like(interactions))
        return outputs[packing.element_slots()].float()

    def frozen(self) -> Callable[[Tensor, Packing], Tensor]:
        """`forward` with a copy of the weights as they are now, put together once."""
        twin = deepcopy(self)
        return partial(twin.forward, layers=twin.layers_like(twin.positions))

    def _outputs(self, inputs: Tensor, packing: Packing, layers: Sequence[Layer]) -> Tensor:
        """o' in every slot, from the interaction vectors there: [..., D] -> [..., D]."""
        if layers:
            inputs = inputs + self.positions[packing.positions].to(inputs.dtype)
        return run_layers(layers, inputs, packing, causal=self.causal)

    def layers_like(self, like: Tensor) -> list[Layer]:
        """The layers in the number format to compute in on an input."""
        modules = () if self.layers is None else cast(Any, self.layers.layer)
        return layers_from_modules(modules, computing_format(like))

    def _by_slot(self, interactions: Tensor, packing: Packing) -> Tensor:
        longest, limit = packing.max_length, self.positions.shape[0]
        if longest > limit:
            raise ValueError(f"a session has {longest} interactions, expected at most {limit}: keep the last ones")
        return interactions[packing.elements]
