"""What training learned of single products beyond their words: a vector for each text it met, added to what is read.

Words say what a product is; who buys it with what is often said by no word. A product that is new, or whose text was
changed, has no such vector and is read by its words alone, as any text is. In training the vectors are dropped at
random, so that the words have to do without.

A text is known by a hash of its tokens, whatever action stands before it. So a model needs no list of product ids, and
texts that are equal are one.

Letters: N sequences, T tokens of all of them, K known texts, D width.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ubm_embed.data.batches.distinct_batches import NO_ACTION, TokenBatch, interaction_sequences
from ubm_embed.data.session import ACTIONS
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer

# Odd constants of splitmix64 (Steele et al. 2014), as signed numbers; products wrap around at 64 bits.
_TOKEN, _PLACE, _MIX = (number - (1 << 64) for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


class KnownTexts(nn.Module):
    """K texts by their keys, and a vector of each.

    Attributes:
        keys: [K] int64, ascending.
        marks: [6] tokens that are no part of a text: [CLS], [SEP], the actions.
        vectors: [K, D].
        dropout: share of the texts of a batch that are read without their vector in training.
    """

    keys: Tensor
    marks: Tensor

    def __init__(self, count: int, dimension: int) -> None:
        super().__init__()
        self.dropout = 0.0
        self.register_buffer("keys", torch.zeros(count, dtype=torch.int64))
        self.register_buffer("marks", torch.zeros(2 + len(ACTIONS), dtype=torch.int64))
        self.vectors = nn.Parameter(torch.zeros(count, dimension))

    def forward(self, tokens: TokenBatch) -> Tensor:
        """What is known of N sequences: [N, D]; 0 for a text that is not known."""
        row, found = self.find(tokens)
        if self.training and self.dropout:
            found = found & (torch.rand(found.shape, device=found.device) >= self.dropout)
        return self.vectors[row] * found.unsqueeze(1)

    def find(self, tokens: TokenBatch) -> tuple[Tensor, Tensor]:
        """For N sequences the row of their text [N], and whether it is known [N]."""
        keys = text_keys(tokens, self.marks)
        row = torch.searchsorted(self.keys, keys).clamp(max=self.keys.numel() - 1)
        return row, self.keys[row] == keys

    @classmethod
    def of(
        cls,
        texts: TokenTable,
        tokenizer: InteractionTokenizer,
        before: KnownTexts | None,
        dimension: int,
        start: Tensor | None = None,
    ) -> Self:
        """K texts, and those that were known before, with their vectors.

        Args:
            start: [K, D], where the vectors of those that were not known start, of equal texts their mean; None for 0.
        """
        marks = torch.tensor([tokenizer.cls, tokenizer.sep, *tokenizer.actions])
        keys = fresh = _keys_alone(texts, tokenizer, marks)
        if before is not None:
            keys = torch.cat([keys, before.keys.cpu()])
        keys = torch.unique(keys)  # ascending
        known = cls(keys.numel(), dimension)
        known.keys, known.marks = keys, marks
        with torch.no_grad():
            if start is not None:
                place = torch.searchsorted(keys, fresh)
                share = 1 / torch.bincount(place)[place].unsqueeze(1)
                known.vectors.index_add_(0, place, start.to(known.vectors) * share)
            if before is not None:
                known.vectors[torch.searchsorted(keys, before.keys.cpu())] = before.vectors.cpu()
        return known


def _keys_alone(texts: TokenTable, tokenizer: InteractionTokenizer, marks: Tensor) -> Tensor:
    if not len(texts):
        return torch.empty(0, dtype=torch.int64)
    rows: NDArray[np.int64] = np.arange(len(texts))
    alone = interaction_sequences(tokenizer, texts, np.full(rows.size, NO_ACTION), rows)
    return text_keys(TokenBatch.of(alone), marks)


def text_keys(tokens: TokenBatch, marks: Tensor) -> Tensor:
    """A 64-bit hash of each sequence's text, the marks around it left out: [N] int64.

    Places are counted from the end, so that an action in front changes nothing. Different texts of a catalogue of ten
    million share a key with a chance of 3 in a million.
    """
    packing = tokens.packing
    ids = tokens.ids[packing.places()]
    sequence = torch.arange(packing.lengths.numel(), device=ids.device).repeat_interleave(packing.lengths)
    from_end = packing.lengths.cumsum(0)[sequence] - torch.arange(ids.numel(), device=ids.device)
    mixed = (ids + 1) * _TOKEN ^ from_end * _PLACE
    mixed = (mixed ^ (mixed >> 29)) * _MIX
    mixed = (mixed ^ (mixed >> 32)).masked_fill(torch.isin(ids, marks), 0)
    return torch.zeros_like(packing.lengths).index_add(0, sequence, mixed)
