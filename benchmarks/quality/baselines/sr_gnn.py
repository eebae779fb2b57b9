"""SR-GNN: Wu, Tang, Zhu, Wang, Xie, Tan, Session-based Recommendation with Graph Neural Networks, 2019.

Letters: B sessions, S positions and as many nodes, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from benchmarks.quality.baselines.item_sequences import ItemSequences
from benchmarks.quality.baselines.item_tower import ItemTower


@dataclass(frozen=True)
class SessionGraphs:
    """B sessions as graphs: a node for each different product, an edge from each product to the next (their 3.2).

    Attributes:
        nodes: [B, S] int64 product ids in ascending order, then the padding's id.
        real: [B, S] bool, which are nodes and not padding.
        last: [B] int64 node of the session's last product; 0 for a session without one.
        incoming, outgoing: [B, S, S]; row i holds each node's share of the edges into (out of) node i; zeros where
            there are none.
    """

    nodes: Tensor
    real: Tensor
    last: Tensor
    incoming: Tensor
    outgoing: Tensor

    @classmethod
    def from_sequences(cls, sequences: ItemSequences, padding: int) -> SessionGraphs:
        """The graphs of sequences that are padded with the id `padding`."""
        nodes, node_at = _distinct(sequences.items, padding)
        last = node_at.gather(1, sequences.last.unsqueeze(1)).squeeze(1)
        edges = _edge_counts(node_at, sequences.filled)
        return cls(nodes, nodes < padding, last, _shares(edges.transpose(1, 2)), _shares(edges))


def _distinct(items: Tensor, padding: int) -> tuple[Tensor, Tensor]:
    """The distinct ids of each row, ascending, and the index of each position's id: [B, S] -> [B, S], [B, S].

    The padding's id is the highest, so it comes last and moves no node.
    """
    ordered, order = items.sort(dim=1)
    first = torch.ones_like(ordered)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    number = first.cumsum(dim=1) - 1
    nodes = torch.full_like(items, padding).scatter_(1, number, ordered)
    return nodes, torch.empty_like(items).scatter_(1, order, number)


def _edge_counts(node_at: Tensor, filled: Tensor) -> Tensor:
    """Number of times that node j follows node i: [B, S], [B, S] -> [B, S, S] float."""
    sessions, positions = node_at.shape
    counts = torch.zeros(sessions, positions, positions, device=node_at.device)
    session, position = filled[:, 1:].nonzero(as_tuple=True)
    ends = (session, node_at[session, position], node_at[session, position + 1])
    return counts.index_put_(ends, counts.new_ones(()), accumulate=True)


def _shares(weights: Tensor) -> Tensor:
    """Each row divided by its sum, rows of zeros unchanged: [B, S, S] -> [B, S, S]."""
    return weights / weights.sum(dim=2, keepdim=True).clamp(min=1)  # sums of counts: below 1 means 0


class SRGNN(ItemTower):
    """A gated graph network over a session's products; a session is its last product and its graph, concatenated.

    Edges are weighted by their number of occurrences, and the sum runs over nodes, not clicks, as in their text. With a
    `temperature`, item vectors are normalised for reading and for scoring: NISER (Gupta et al. 2019, who found 1/16 to
    do well).
    """

    def __init__(
        self,
        products: int,
        *,
        dimension: int = 128,
        dropout: float = 0.0,
        max_interactions: int = 32,
        steps: int = 1,
        temperature: float | None = None,
    ) -> None:
        super().__init__(products, dimension=dimension, max_interactions=max_interactions, temperature=temperature)
        self.steps = steps
        self.dropout = nn.Dropout(dropout)
        self.incoming, self.outgoing = nn.Linear(dimension, dimension), nn.Linear(dimension, dimension)
        # GRUCell resets the state after the matrix product, as their implementation does; their text resets it before.
        self.gate = nn.GRUCell(2 * dimension, dimension)
        self.last_query, self.node_key = nn.Linear(dimension, dimension, bias=False), nn.Linear(dimension, dimension)
        self.attention = nn.Linear(dimension, 1, bias=False)
        self.both = nn.Linear(2 * dimension, dimension, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        """Initialise with a Gaussian of standard deviation 0.1 (their 4.3)."""
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.1)
        self.clear_padding()

    def encode(self, sequences: ItemSequences) -> Tensor:
        """[B, D]."""
        graphs = SessionGraphs.from_sequences(sequences, self.product_count)
        items: Tensor = self.items(graphs.nodes)
        nodes: Tensor = self.dropout(items if self.temperature is None else normalize(items, dim=2))
        for _ in range(self.steps):
            nodes = self._propagate(nodes, graphs)
        local = nodes[torch.arange(nodes.shape[0], device=nodes.device), graphs.last]
        whole = self._aggregate(nodes, local, graphs.real)
        return cast(Tensor, self.both(torch.cat([local, whole], dim=1)))

    def _propagate(self, nodes: Tensor, graphs: SessionGraphs) -> Tensor:
        """Equations 1 to 5: [B, S, D] -> [B, S, D]. No edge leads from the padding to a node."""
        messages = [graphs.incoming @ self.incoming(nodes), graphs.outgoing @ self.outgoing(nodes)]
        moved: Tensor = self.gate(torch.cat(messages, dim=2).flatten(0, 1), nodes.flatten(0, 1))
        return moved.view_as(nodes)

    def _aggregate(self, nodes: Tensor, local: Tensor, real: Tensor) -> Tensor:
        """Equation 6, s_g: the sum of the nodes, weighted by attention without a softmax: [B, S, D] -> [B, D]."""
        keys = torch.sigmoid(self.last_query(local).unsqueeze(1) + self.node_key(nodes))
        weights = self.attention(keys).masked_fill(~real.unsqueeze(2), 0.0)
        return cast(Tensor, (weights * nodes).sum(dim=1))
