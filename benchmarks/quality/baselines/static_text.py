"""Static text: products as bags of word pieces, sessions by a small Transformer over them, trained on the next item.

It reads what the User Behavior Model reads, without pre-training and without looking at the order of words.

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
from ubm_embed.data.session import ACTIONS
from ubm_embed.data.text.token_table import TokenTable

# How much less each step back from the end counts before training.
_DECAY = 0.8
# Small beside a fresh text vector, so that what was touched is heard before when and how.
_MARK_SCALE = 0.02


class StaticText(nn.Module):
    """A `Tower`: text vectors for products, and their recency-weighted mean behind a pre-norm Transformer for sessions.

    Args:
        texts: the catalogue's products, then search phrases.
        vocab_size: token ids that `texts` may hold.
        dimension: D.
        max_interactions: a session is read from its last ones.
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
        temperature: float = 0.07,
    ) -> None:
        super().__init__()
        self.temperature: float | None = temperature
        self.max_interactions = max_interactions
        self.text_encoder = BagOfTokens(texts, vocab_size, dimension, dropout)
        self.actions = nn.Embedding(len(ACTIONS), dimension)
        self.distances = nn.Embedding(max_interactions, dimension)
        nn.init.normal_(self.actions.weight, std=_MARK_SCALE)
        nn.init.normal_(self.distances.weight, std=_MARK_SCALE)
        self.layers = _pre_norm_layers(dimension, layers, heads, dropout)
        self.recency = Recency(max_interactions)

    def sessions(self, sessions: SessionTable) -> Tensor:
        """[B, D]."""
        last = sessions.last(self.max_interactions)
        places, held = places_from_the_end(last)
        device = self.actions.weight.device
        absent = torch.from_numpy(~held).to(device)
        texts: Tensor = self.text_encoder(last.rows[places])
        actions: Tensor = self.actions(torch.from_numpy(last.actions[places]).long().to(device))
        inputs = texts + actions + self.distances.weight[: places.shape[1]]
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
        """Text rows of any shape [...] -> [..., D]; each different one is computed once."""
        different, index = np.unique(np.asarray(rows, dtype=np.int64), return_inverse=True)
        bags = self.texts.take(different)
        device = self.tokens.weight.device
        ids, starts = (torch.from_numpy(array).long().to(device) for array in (bags.ids, bags.offsets[:-1]))
        vectors: Tensor = self.mlp(self.tokens(ids, starts))
        return vectors[torch.from_numpy(index.reshape(np.shape(rows))).to(device)]


class Recency(nn.Module):
    """A mean in which the last interactions count most, by weights over the distance from the end.

    They start as a geometric series and are learned, because how fast interest fades differs from shop to shop and
    costs one number a distance to find out.
    """

    def __init__(self, max_interactions: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(math.log(_DECAY) * torch.arange(max_interactions, dtype=torch.float32))

    def forward(self, outputs: Tensor, absent: Tensor) -> Tensor:
        """Outputs [B, S, D] from the end on, and where there are none [B, S] -> [B, D]."""
        logits = self.logits[: absent.shape[1]].expand(absent.shape)
        weights = logits.masked_fill(absent, -torch.inf).softmax(dim=1)
        return (weights.unsqueeze(2) * outputs).sum(dim=1)


def places_from_the_end(sessions: SessionTable) -> tuple[IntArray, BoolArray]:
    """Where the interaction at each distance from a session's end stands [B, S], and whether there is one [B, S].

    Beyond a session's beginning stands its first interaction again, so that padding brings in nothing new.
    """
    lengths = sessions.lengths[:, np.newaxis]
    assert lengths.size, "at least one session"
    assert lengths.min() > 0, "a session has at least one interaction"
    distances = np.arange(lengths.max())
    places = sessions.offsets[1:, np.newaxis] - 1 - np.minimum(distances, lengths - 1)
    return places, distances < lengths


def _pre_norm_layers(dimension: int, layers: int, heads: int, dropout: float) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(
        dimension, heads, 4 * dimension, dropout, activation="gelu", batch_first=True, norm_first=True
    )
    # Nested tensors do not go with pre-norm, and torch warns when they are left on.
    return nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(dimension), enable_nested_tensor=False)
