"""Static text: products as bags of word pieces, sessions as a small Transformer over them, trained on the next item.

It has the input of the User Behavior Model, but no pre-training, and ignores the order of words.

Letters: B sessions, S interactions of the longest of them, K texts, D width.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ubm_embed.data.arrays import BoolArray, IntArray
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.text.token_table import TokenTable

# Weight of each step back from the end, before training.
_DECAY = 0.8
# Small beside a fresh text vector, so that at first the product counts more than the action and its recency.
_MARK_SCALE = 0.02


class StaticText(nn.Module):
    """A `Tower`: text vectors for products, and for sessions their recency-weighted mean after a pre-norm Transformer.

    Args:
        texts: the catalogue's products, then search phrases.
        vocab_size: number of token ids.
        dimension: D.
        max_interactions: number of last interactions that are read of a session.
        actions: number of actions: the paper's four, or five where removals from the cart are read, too.
    """

    def __init__(
        self,
        texts: TokenTable,
        vocab_size: int,
        *,
        dimension: int = 128,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
        max_interactions: int = 16,
        actions: int = 4,
        temperature: float = 0.07,
    ) -> None:
        super().__init__()
        self.temperature: float | None = temperature
        self.max_interactions = max_interactions
        self.text_encoder = BagOfTokens(texts, vocab_size, dimension, dropout)
        self.actions = nn.Embedding(actions, dimension)
        self.distances = nn.Embedding(max_interactions, dimension)
        nn.init.normal_(self.actions.weight, std=_MARK_SCALE)
        nn.init.normal_(self.distances.weight, std=_MARK_SCALE)
        self.layers = _pre_norm_layers(dimension, layers, heads, dropout)
        self.recency = Recency(max_interactions)

    def sessions(self, sessions: SessionTable) -> Tensor:
        """[B, D]."""
        last = sessions.last(self.max_interactions)
        indexes, present = positions_from_the_end(last)
        device = self.actions.weight.device
        absent = torch.from_numpy(~present).to(device)
        texts: Tensor = self.text_encoder(last.rows[indexes])
        actions: Tensor = self.actions(torch.from_numpy(last.actions[indexes]).long().to(device))
        inputs = texts + actions + self.distances.weight[: indexes.shape[1]]
        outputs: Tensor = self.layers(inputs, src_key_padding_mask=absent)
        return cast(Tensor, self.recency(outputs, absent))

    def products(self, rows: IntArray) -> Tensor:
        """[K, D]."""
        return cast(Tensor, self.text_encoder(rows))


class BagOfTokens(nn.Module):
    """The mean of a text's token embeddings through a two-layer MLP. A text without tokens has mean 0."""

    def __init__(self, texts: TokenTable, vocab_size: int, dimension: int, dropout: float) -> None:
        super().__init__()
        self.texts = texts
        self.tokens = nn.EmbeddingBag(vocab_size, dimension, mode="mean")
        self.mlp = nn.Sequential(
            nn.Linear(dimension, 2 * dimension), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * dimension, dimension)
        )

    def forward(self, rows: IntArray) -> Tensor:
        """Text rows of any shape [...] -> [..., D]; each distinct one is computed once."""
        distinct, index = np.unique(np.asarray(rows, dtype=np.int64), return_inverse=True)
        bags = self.texts.take(distinct)
        device = self.tokens.weight.device
        ids, starts = (torch.from_numpy(array).long().to(device) for array in (bags.ids, bags.offsets[:-1]))
        vectors: Tensor = self.mlp(self.tokens(ids, starts))
        return vectors[torch.from_numpy(index.reshape(np.shape(rows))).to(device)]


class Recency(nn.Module):
    """A mean in which the last interactions count most, with learned weights by distance from the end.

    They start as a geometric series and are learned, because interest fades differently in each shop, and a weight for
    each distance is cheap.
    """

    def __init__(self, max_interactions: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(math.log(_DECAY) * torch.arange(max_interactions, dtype=torch.float32))

    def forward(self, outputs: Tensor, absent: Tensor) -> Tensor:
        """Outputs [B, S, D] from the last interaction on, and which are absent [B, S] -> [B, D]."""
        logits = self.logits[: absent.shape[1]].expand(absent.shape)
        weights = logits.masked_fill(absent, -torch.inf).softmax(dim=1)
        return (weights.unsqueeze(2) * outputs).sum(dim=1)


def positions_from_the_end(sessions: SessionTable) -> tuple[IntArray, BoolArray]:
    """Index of the interaction at each distance from a session's end [B, S], and whether it exists [B, S].

    Beyond a session's start the index is that of its first interaction, so padding adds no new text.
    """
    lengths = sessions.lengths[:, np.newaxis]
    assert lengths.size, "at least one session"
    assert lengths.min() > 0, "a session has at least one interaction"
    distances = np.arange(lengths.max())
    indexes = sessions.offsets[1:, np.newaxis] - 1 - np.minimum(distances, lengths - 1)
    return indexes, distances < lengths


def _pre_norm_layers(dimension: int, layers: int, heads: int, dropout: float) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(
        dimension, heads, 4 * dimension, dropout, activation="gelu", batch_first=True, norm_first=True
    )
    # Nested tensors do not work with pre-norm, and torch warns if they are enabled.
    return nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(dimension), enable_nested_tensor=False)
