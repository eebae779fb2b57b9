"""A fixed language model below one trained layer: what two cores can fine-tune of the paper's BERT rows (4.1.3).

Letters: B sessions, K products, M products of the catalogue, D width.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ubm_embed.data.arrays import IntArray
from ubm_embed.data.batches.distinct_batches import NO_ACTION, distinct_interactions
from ubm_embed.data.batches.packing import Packing
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.model.tower import TEMPERATURE, CachedInteractions


class MeanText(nn.Module):
    """Sessions as the mean of their interactions' fixed vectors, through a layer that starts as the identity.

    The mean of all vectors is subtracted first: it is nearly all of a language model's [CLS], distinguishes nothing,
    and would prevent a linear layer from learning (Mu and Viswanath 2018, All-but-the-Top).

    Args:
        interactions: vectors of all interactions that may be read; without `frozen`, also of products alone.
        frozen: [M, D] vectors of the products; None for those in `interactions`, through their own layer.
        temperature: divisor of the cosines.
    """

    frozen: Tensor | None
    centre: Tensor

    def __init__(
        self,
        interactions: CachedInteractions,
        *,
        max_interactions: int,
        frozen: Tensor | None,
        temperature: float = TEMPERATURE,
    ) -> None:
        super().__init__()
        self.temperature: float | None = temperature
        self.max_interactions = max_interactions
        self.interactions = interactions
        dimension = interactions.vectors.shape[1]
        self.session_layer = _identity(dimension)
        self.product_layer = _identity(dimension) if frozen is None else None
        self.register_buffer("centre", interactions.vectors.mean(dim=0), persistent=False)
        self.register_buffer("frozen", None if frozen is None else frozen - frozen.mean(dim=0), persistent=False)

    def sessions(self, sessions: SessionTable) -> Tensor:
        """[B, D]."""
        last = sessions.last(self.max_interactions)
        actions, rows, index = distinct_interactions(last.actions.astype(np.int64), last.rows.astype(np.int64))
        vectors = self.interactions(actions, rows)[torch.from_numpy(index).to(self.interactions.vectors.device)]
        packing = Packing.from_lengths(last.lengths).to(vectors.device)
        return cast(Tensor, self.session_layer(packing.mean(vectors[packing.elements]) - self.centre))

    def products(self, rows: IntArray) -> Tensor:
        """[K, D]."""
        rows = np.asarray(rows, dtype=np.int64)
        if self.product_layer is not None:
            alone: Tensor = self.interactions(np.full(rows.size, NO_ACTION), rows)
            return cast(Tensor, self.product_layer(alone - self.centre))
        assert self.frozen is not None
        return self.frozen[torch.from_numpy(rows).to(self.frozen.device)]


def _identity(dimension: int) -> nn.Linear:
    layer = nn.Linear(dimension, dimension)
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
