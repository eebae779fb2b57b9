"""SASRec: Kang, McAuley, Self-Attentive Sequential Recommendation, 2018.

Letters: B sessions, S positions, D width, H heads.
"""

from __future__ import annotations

import math
from typing import cast

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.quality.baselines.item_sequences import ItemSequences
from benchmarks.quality.baselines.item_tower import CausalItemTower


class SASRec(CausalItemTower):
    """Item and position vectors through causal self-attention; a session is the output at its last product.

    Positions count from the first product that is read, so a prefix has the same ones whatever follows, and one pass
    encodes all prefixes. Theirs count back from the last product, in left-padded rows, which shifts a prefix within a
    longer session. As in their implementation, item vectors are scaled by the root of D before positions are added, and
    a layer norm follows the blocks. The default dropout is theirs for sparse data.
    """

    def __init__(
        self,
        products: int,
        *,
        dimension: int = 128,
        dropout: float = 0.5,
        max_interactions: int = 32,
        blocks: int = 2,
        heads: int = 1,
        temperature: float | None = None,
    ) -> None:
        super().__init__(products, dimension=dimension, max_interactions=max_interactions, temperature=temperature)
        self.positions = nn.Embedding(max_interactions, dimension)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(dimension, heads, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(dimension)
        self._initialise()

    def _initialise(self) -> None:
        """Initialise as Glorot does, the default of their implementation."""
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
        self.clear_padding()

    def outputs(self, sequences: ItemSequences) -> Tensor:
        """[B, S, D]; padding comes after the last product, so the causal mask hides it."""
        items: Tensor = self.items(sequences.items) * math.sqrt(self.items.embedding_dim)
        states: Tensor = self.dropout(items + self.positions.weight[: items.shape[1]])
        for block in self.blocks:
            states = block(states)
        return cast(Tensor, self.norm(states))


class Block(nn.Module):
    """Self-attention, then the feed-forward part of equation 6, each as x + dropout(g(norm(x))) (their 3.3)."""

    def __init__(self, dimension: int, heads: int, dropout: float) -> None:
        super().__init__()
        if dimension % heads:
            raise ValueError(f"heads must divide the dimension {dimension}, got {heads}")
        self.heads = heads
        self.attention_norm, self.forward_norm = nn.LayerNorm(dimension), nn.LayerNorm(dimension)
        self.queries, self.keys, self.values = (nn.Linear(dimension, dimension, bias=False) for _ in range(3))
        self.feed_forward = nn.Sequential(
            nn.Linear(dimension, dimension), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dimension, dimension)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor) -> Tensor:
        """[B, S, D] -> [B, S, D]; a position sees itself and earlier ones."""
        states = states + self.dropout(self._attend(self.attention_norm(states)))
        return states + cast(Tensor, self.dropout(self.feed_forward(self.forward_norm(states))))

    def _attend(self, states: Tensor) -> Tensor:
        queries, keys, values = (
            projection(states).unflatten(2, (self.heads, -1)).transpose(1, 2)  # [B, H, S, D / H]
            for projection in (self.queries, self.keys, self.values)
        )
        dropout = self.dropout.p if self.training else 0.0
        attended = scaled_dot_product_attention(queries, keys, values, dropout_p=dropout, is_causal=True)
        return attended.transpose(1, 2).flatten(2)
