"""Item embeddings keyed by text: a learned vector per product text, added to what its words say.

Words say what a product is, but rarely who buys it with what. A product that is new, or whose text was changed, has no
such vector and is read by its words alone, as any text is. In training the vectors are dropped at random, so that the
words also have to do without.

The key is a hash of the text's tokens, whatever action precedes it. So a model needs no list of product ids, and equal
texts share one vector.

Letters: N sequences, T tokens of all of them, K texts with a vector, D width.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import embedding

from ubm_embed.data.batches.distinct_batches import NO_ACTION, interaction_sequences
from ubm_embed.data.batches.packing import TokenBatch
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer

# Odd constants of splitmix64 (Steele et al. 2014) as signed numbers; products wrap around at 64 bits.
_TOKEN, _POSITION, _MIX = (
    number - (1 << 64) for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


class ItemEmbeddings(nn.Module):
    """K keys of texts, and a vector for each.

    Attributes:
        keys: [K] int64, ascending.
        marks: [2 + actions] tokens that are not part of a text: [CLS], [SEP], the actions.
        vectors: [K, D].
        dropout: in training, the rate at which texts of a batch are read without their vector.
    """

    keys: Tensor
    marks: Tensor

    def __init__(self, count: int, dimension: int, *, actions: int) -> None:
        super().__init__()
        self.dropout = 0.0
        self.register_buffer("keys", torch.zeros(count, dtype=torch.int64))
        self.register_buffer("marks", torch.zeros(2 + actions, dtype=torch.int64))
        self.vectors = nn.Parameter(torch.zeros(count, dimension))

    def forward(self, tokens: TokenBatch) -> Tensor:
        """The vectors of N sequences: [N, D]; 0 for a text without one."""
        return self.take(*self.find(tokens))

    def take(self, row: Tensor, has_vector: Tensor) -> Tensor:
        """The vectors in these rows [N]: [N, D]; 0 where there is none, and where training drops it."""
        if self.training and self.dropout:
            has_vector = has_vector & (torch.rand(has_vector.shape, device=has_vector.device) >= self.dropout)
        return embedding(row, self.vectors) * has_vector.unsqueeze(1)

    def find(self, tokens: TokenBatch) -> tuple[Tensor, Tensor]:
        """For N sequences the row of their text [N], and whether it has a vector [N]; if not, the row is any."""
        keys = text_keys(tokens, self.marks)
        row = torch.searchsorted(self.keys, keys).clamp(max=self.keys.numel() - 1)
        return row, self.keys[row] == keys

    @classmethod
    def from_texts(
        cls,
        texts: TokenTable,
        tokenizer: InteractionTokenizer,
        existing: ItemEmbeddings | None,
        dimension: int,
        start: Tensor | None = None,
    ) -> Self:
        """Embeddings of the existing texts, with their vectors, and of K more.

        Args:
            start: [K, D], the initial value of vectors that did not exist; equal texts start at their mean. None for 0.
        """
        marks = torch.tensor([tokenizer.cls, tokenizer.sep, *tokenizer.actions])
        keys = new_keys = _keys_without_action(texts, tokenizer, marks)
        if existing is not None:
            keys = torch.cat([keys, existing.keys.cpu()])
        keys = torch.unique(keys)  # ascending
        embeddings = cls(keys.numel(), dimension, actions=tokenizer.actions.size)
        embeddings.keys, embeddings.marks = keys, marks
        with torch.no_grad():
            if start is not None:
                row = torch.searchsorted(keys, new_keys)
                weight = 1 / torch.bincount(row)[row].unsqueeze(1)
                embeddings.vectors.index_add_(0, row, start.to(embeddings.vectors) * weight)
            if existing is not None:
                embeddings.vectors[torch.searchsorted(keys, existing.keys.cpu())] = existing.vectors.cpu()
        return embeddings


def _keys_without_action(texts: TokenTable, tokenizer: InteractionTokenizer, marks: Tensor) -> Tensor:
    if not len(texts):
        return torch.empty(0, dtype=torch.int64)
    rows: NDArray[np.int64] = np.arange(len(texts))
    sequences = interaction_sequences(tokenizer, texts, np.full(rows.size, NO_ACTION), rows)
    return text_keys(TokenBatch.from_table(sequences), marks)


def text_keys(tokens: TokenBatch, marks: Tensor) -> Tensor:
    """A 64-bit hash of the text of each sequence, without the marks around it: [N] int64.

    Positions are counted from the end, so that an action in front changes nothing. In a catalogue of ten million texts
    two different ones share a key with a probability of 3 in a million.
    """
    packing = tokens.packing
    ids = tokens.ids[packing.element_slots()]
    sequence = torch.arange(packing.lengths.numel(), device=ids.device).repeat_interleave(packing.lengths)
    from_end = packing.lengths.cumsum(0)[sequence] - torch.arange(ids.numel(), device=ids.device)
    mixed = (ids + 1) * _TOKEN ^ from_end * _POSITION
    mixed = (mixed ^ (mixed >> 29)) * _MIX
    mixed = (mixed ^ (mixed >> 32)).masked_fill(torch.isin(ids, marks), 0)
    return torch.zeros_like(packing.lengths).index_add(0, sequence, mixed)
