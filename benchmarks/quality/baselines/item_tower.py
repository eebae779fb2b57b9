"""A tower over product ids: one table of item vectors, both for reading sessions and for scoring products.

Letters: B sessions, I interactions of all of them, S positions, K products to score, M products, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.quality.baselines.item_sequences import ItemSequences, products_so_far
from ubm_embed.data.arrays import IntArray
from ubm_embed.data.batches.session_table import MAX_INTERACTIONS, SessionTable


class ItemTower(nn.Module, ABC):
    """The common part of the models over item ids; a subclass encodes the sequences.

    Args:
        products: M; rows from M on are search phrases, which these models cannot read.
        dimension: D.
        max_interactions: number of last products that are read of a session.
        temperature: divisor of cosines; None for inner products.
        special: number of ids after the padding's, such as a mask.
    """

    def __init__(
        self,
        products: int,
        *,
        dimension: int,
        max_interactions: int = MAX_INTERACTIONS,
        temperature: float | None = None,
        special: int = 0,
    ) -> None:
        super().__init__()
        self.product_count, self.max_interactions, self.temperature = products, max_interactions, temperature
        self.items = nn.Embedding(products + 1 + special, dimension, padding_idx=products)

    @abstractmethod
    def encode(self, sequences: ItemSequences) -> Tensor:
        """Vectors of B sessions: [B, D], finite; arbitrary for a session without a product."""

    def sessions(self, sessions: SessionTable) -> Tensor:
        """Vectors of B sessions: [B, D]; 0 for a session without a product."""
        sequences = self.read(sessions)
        # Filled and not multiplied by 0, so that no gradient passes through an empty session.
        return self.encode(sequences).masked_fill(sequences.lengths.unsqueeze(1) == 0, 0.0)

    def products(self, rows: IntArray) -> Tensor:
        """Vectors of K products: [K, D].

        Raises:
            ValueError: a row is not a product.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if rows.size and not 0 <= rows.min() <= rows.max() < self.product_count:
            raise ValueError(f"rows must be products, 0 to {self.product_count - 1}, got {rows.min()} to {rows.max()}")
        return cast(Tensor, self.items(torch.from_numpy(rows).to(self.items.weight.device)))

    def read(self, sessions: SessionTable) -> ItemSequences:
        """The last products of the sessions, on the tower's device."""
        sequences = ItemSequences.from_sessions(sessions, self.product_count, self.max_interactions)
        return sequences.to(self.items.weight.device)

    def clear_padding(self) -> None:
        """Set the padding's vector to 0 after initialisation; it gets no gradient and stays 0."""
        with torch.no_grad():
            self.items.weight[self.product_count].zero_()


class CausalItemTower(ItemTower):
    """An item tower whose output at a position depends on products up to there: one pass encodes all prefixes."""

    @abstractmethod
    def outputs(self, sequences: ItemSequences) -> Tensor:
        """[B, S, D] output at each position, from the products up to it; arbitrary at padding."""

    def encode(self, sequences: ItemSequences) -> Tensor:
        """[B, D], the output at each session's last product."""
        return sequences.at_last(self.outputs(sequences))

    def prefixes(self, sessions: SessionTable) -> Tensor:
        """The vectors of every prefix of B sessions, in the order of the interactions: [I, D].

        A prefix that ends in a search has the vector of the products before it, or 0 without any.

        Raises:
            ValueError: a session has more products than are read, so its prefixes would start at different products.
        """
        counts = products_so_far(sessions, self.product_count)
        longest = counts.max(initial=0)
        if longest > self.max_interactions:
            raise ValueError(f"a session has {longest} products, expected at most {self.max_interactions}")
        outputs = self.outputs(self.read(sessions))
        session, count = (torch.from_numpy(each).to(outputs.device) for each in (sessions.session_of(), counts))
        return outputs[session, (count - 1).clamp(min=0)].masked_fill(count.unsqueeze(1) == 0, 0.0)
