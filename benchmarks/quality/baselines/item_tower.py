"""A tower over product ids: one table of item vectors that sessions are read from and held against.

Letters: B sessions, I interactions of all of them, S places, K asked products, M products, D width.
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
    """What the models of item ids have in common; each says how it encodes sequences.

    Args:
        products: M; rows from M on are search phrases, which no such model can read.
        dimension: D.
        max_interactions: how many of a session's last products are read.
        temperature: None for inner products; else scores are cosines over it.
        special: ids after the padding's, such as a mask's.
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
        """Vectors of B sessions: [B, D], finite, and of no meaning for a session without a product."""

    def sessions(self, sessions: SessionTable) -> Tensor:
        """Vectors of B sessions: [B, D]; 0 for a session without a product."""
        sequences = self.read(sessions)
        # Filled, not multiplied: whatever gradient reaches an empty session ends here.
        return self.encode(sequences).masked_fill(sequences.lengths.unsqueeze(1) == 0, 0.0)

    def products(self, rows: IntArray) -> Tensor:
        """Vectors of K products: [K, D].

        Raises:
            ValueError: a row is no product.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if rows.size and not 0 <= rows.min() <= rows.max() < self.product_count:
            raise ValueError(f"rows must be products, 0 to {self.product_count - 1}, got {rows.min()} to {rows.max()}")
        return cast(Tensor, self.items(torch.from_numpy(rows).to(self.items.weight.device)))

    def read(self, sessions: SessionTable) -> ItemSequences:
        """The part of the sessions that is encoded."""
        sequences = ItemSequences.of(sessions, self.product_count, self.max_interactions)
        return sequences.to(self.items.weight.device)

    def clear_padding(self) -> None:
        """Set the padding's vector to 0, where it stays; for after the table was initialised."""
        with torch.no_grad():
            self.items.weight[self.product_count].zero_()


class CausalItemTower(ItemTower):
    """An item tower that reads at each product those until then, so that one pass reads all beginnings of a session."""

    @abstractmethod
    def outputs(self, sequences: ItemSequences) -> Tensor:
        """[B, S, D], at each place of what stands there and before it; of no meaning where padded."""

    def encode(self, sequences: ItemSequences) -> Tensor:
        """[B, D], the output at each session's last product."""
        return sequences.at_last(self.outputs(sequences))

    def beginnings(self, sessions: SessionTable) -> Tensor:
        """What `sessions` makes of every beginning of B sessions, in the order of the interactions: [I, D].

        After a search it is the vector of the products before; 0 where there is none yet.

        Raises:
            ValueError: a session has more products than are read, whose later beginnings would not start where it does.
        """
        counts = products_so_far(sessions, self.product_count)
        most = counts.max(initial=0)
        if most > self.max_interactions:
            raise ValueError(f"a session has {most} products, expected at most {self.max_interactions}")
        outputs = self.outputs(self.read(sessions))
        session, count = (torch.from_numpy(each).to(outputs.device) for each in (sessions.session_of(), counts))
        return outputs[session, (count - 1).clamp(min=0)].masked_fill(count.unsqueeze(1) == 0, 0.0)
