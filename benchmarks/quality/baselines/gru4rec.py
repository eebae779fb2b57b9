"""GRU4Rec: Hidasi, Karatzoglou, Baltrunas, Tikk, Session-based Recommendations with Recurrent Neural Networks, 2016.

Letters: B sessions, S places, D width.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from benchmarks.quality.baselines.item_sequences import ItemSequences
from benchmarks.quality.baselines.item_tower import CausalItemTower


class GRU4Rec(CausalItemTower):
    """Item vectors through a GRU; a session is its last state.

    Their output layer has weights of its own and a bias; here it is the table of item vectors, without a bias, as a
    tower's products have one vector each. The losses of their 2018 paper are the trainer's matter.
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
        between = dropout if layers > 1 else 0.0  # PyTorch warns of dropout between the layers of one layer
        self.gru = nn.GRU(dimension, dimension, layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(dropout)
        self._initialise()

    def _initialise(self) -> None:
        """Uniform within bounds that depend on a matrix's rows and columns (their section 4.1)."""
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
