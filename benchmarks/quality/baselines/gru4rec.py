"""GRU4Rec: Hidasi, Karatzoglou, Baltrunas, Tikk, Session-based Recommendations with Recurrent Neural Networks, 2016.

Letters: B sessions, S positions, D width.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from benchmarks.quality.baselines.item_sequences import ItemSequences
from benchmarks.quality.baselines.item_tower import CausalItemTower


class GRU4Rec(CausalItemTower):
    """Item vectors through a GRU; a session is the last state.

    The paper's output layer has its own weights and a bias; here it is the item table without a bias, since a tower has
    one vector for each product. The losses of their 2018 paper are left to the trainer.
    """

    def __init__(
        self,
        products: int,
        *,
        dimension: int = 128,
        dropout: float = 0.2,
        max_interactions: int = 32,
        layers: int = 1,
        temperature: float | None = None,
    ) -> None:
        super().__init__(products, dimension=dimension, max_interactions=max_interactions, temperature=temperature)
        between = dropout if layers > 1 else 0.0  # PyTorch warns about dropout between layers if there is only one
        self.gru = nn.GRU(dimension, dimension, layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(dropout)
        self._initialise()

    def _initialise(self) -> None:
        """Initialise uniformly, with bounds from the matrix's shape (their section 4.1)."""
        nn.init.xavier_uniform_(self.items.weight)
        for parameter in self.gru.parameters():
            if parameter.ndim > 1:
                for gate in parameter.chunk(3):  # PyTorch stacks the matrices of the three gates
                    nn.init.xavier_uniform_(gate)
        self.clear_padding()

    def outputs(self, sequences: ItemSequences) -> Tensor:
        """[B, S, D], the state after each product."""
        states, _ = self.gru(self.items(sequences.items))
        return cast(Tensor, self.dropout(states))
