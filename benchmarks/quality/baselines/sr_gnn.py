"""SR-GNN: Wu, Tang, Zhu, Wang, Xie, Tan, Session-based Recommendation with Graph Neural Networks, 2019.

Letters: B sessions, S places and as many nodes, D width.
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
        real: [B, S] bool, which are nodes.
        last: [B] int64, which node the session's last product is; 0 for a session without one.
        incoming, outgoing: [B, S, S]; row i holds the share that each node has in the edges into (out of) node i, and
            zeros where there are none.
    """

    nodes: Tensor
    real: Tensor
    last: Tensor
    incoming: Tensor
    outgoing: Tensor

    @classmethod
    def of(cls, sequences: ItemSequences, padding: int) -> SessionGraphs:
        """The graphs of sequences that are padded with that id."""
        nodes, node_at = _distinct(sequences.items, padding)
        last = node_at.gather(1, sequences.last.unsqueeze(1)).squeeze(1)
        edges = _edge_counts(node_at, sequences.filled)
        return cls(nodes, nodes < padding, last, _shares(edges.transpose(1, 2)), _shares(edges))


def _distinct(items: Tensor, padding: int) -> tuple[Tensor, Tensor]:
    """The different ids of each row, ascending, and which of them each place holds: [B, S] -> [B, S], [B, S].

    The padding's id, the highest, comes last and fills up the rows: it moves no node.
    """
    ordered, order = items.sort(dim=1)
    first = torch.ones_like(ordered)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    number = first.cumsum(dim=1) - 1
    nodes = torch.full_like(items, padding).scatter_(1, number, ordered)
    return nodes, torch.empty_like(items).scatter_(1, order, number)


def _edge_counts(node_at: Tensor, filled: Tensor) -> Tensor:
    """How often node j follows node i: [B, S], [B, S] -> [B, S, S] float."""
    sessions, places = node_at.shape
    counts = torch.zeros(sessions, places, places, device=node_at.device)
    session, place = filled[:, 1:].nonzero(as_tuple=True)
    ends = (session, node_at[session, place], node_at[session, place + 1])
    return counts.index_put_(ends, counts.new_ones(()), accumulate=True)


def _shares(weights: Tensor) -> Tensor:
    """Each row over its sum, a row of zeros as it is: [B, S, S] -> [B, S, S]."""
    return weights / weights.sum(dim=2, keepdim=True).clamp(min=1)  # of counts: what is below 1 is 0


class SRGNN(ItemTower):
    """A gated graph network over a session's products; a session is its last product and its graph, side by side.

    Edges are weighted by how often they occur, and nodes are added up, not clicks, as in their text. With a
    `temperature` item vectors are of length 1 where they are read and where they are scored: NISER (Gupta et al.
    2019, which found 1/16 to do well).
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
        # Resets the state after its matrix, not before, as their implementation does.
        self.gate = nn.GRUCell(2 * dimension, dimension)
        self.last_query, self.node_key = nn.Linear(dimension, dimension, bias=False), nn.Linear(dimension, dimension)
        self.attention = nn.Linear(dimension, 1, bias=False)
        self.both = nn.Linear(2 * dimension, dimension, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        """Gaussian with standard deviation 0.1 (their 4.3)."""
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.1)
        self.clear_padding()

    def encode(self, sequences: ItemSequences) -> Tensor:
        """[B, D]."""
        graphs = SessionGraphs.of(sequences, self.product_count)
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
        """Equation 6, s_g: the sum of the nodes by an attention that is no softmax: [B, S, D] -> [B, D]."""
        keys = torch.sigmoid(self.last_query(local).unsqueeze(1) + self.node_key(nodes))
        weights = self.attention(keys).masked_fill(~real.unsqueeze(2), 0.0)
        return cast(Tensor, (weights * nodes).sum(dim=1))
