"""Interactions with masked words for an encoder to predict (masked language modelling, Devlin et al. 2019, 3.1).

Letters: N interactions, T tokens of all of them, C words to predict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ubm_embed.data.batches.packing import Packing, TokenBatch
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer

# 15% of the words are predicted; of those, 80% become [MASK], 10% a random word, and 10% stay.
PREDICTED = 0.15
MASKED, REPLACED = 0.8, 0.1


@dataclass(frozen=True)
class MaskedWords:
    """N interactions with some words to predict.

    Attributes:
        tokens: the masked interactions.
        predicted: [T] bool, in packed order, which tokens to predict.
        answers: [C] int64, the original tokens there.
    """

    tokens: TokenBatch
    predicted: Tensor
    answers: Tensor

    @classmethod
    def mask(cls, sequences: TokenTable, tokenizer: InteractionTokenizer, rng: np.random.Generator) -> Self:
        """Draw 15% of the words, at least one, and mask most of them; the sequences must contain a word."""
        drawn = _draw_words(sequences, tokenizer, rng)
        masked = _masked_ids(sequences, drawn, tokenizer, rng)
        predicted = np.zeros(sequences.ids.size, dtype=bool)
        predicted[drawn] = True
        packing = Packing.from_lengths(sequences.lengths)
        ids, truth = (torch.from_numpy(array).long()[packing.elements] for array in (masked, sequences.ids))
        to_predict = torch.from_numpy(predicted)[packing.elements] & packing.filled()
        return cls(TokenBatch(ids, packing), to_predict, truth[to_predict])

    def to(self, device: torch.device) -> MaskedWords:
        """The same on another device."""
        return MaskedWords(self.tokens.to(device), self.predicted.to(device), self.answers.to(device))


def _draw_words(sequences: TokenTable, tokenizer: InteractionTokenizer, rng: np.random.Generator) -> NDArray[np.int64]:
    words = np.flatnonzero(tokenizer.is_word[sequences.ids])
    assert words.size, "at least one word"
    return rng.choice(words, max(1, round(PREDICTED * words.size)), replace=False)


def _masked_ids(
    sequences: TokenTable, drawn: NDArray[np.int64], tokenizer: InteractionTokenizer, rng: np.random.Generator
) -> NDArray[np.int32]:
    draws = rng.random(drawn.size)
    masked, replaced = drawn[draws < MASKED], drawn[(draws >= MASKED) & (draws < MASKED + REPLACED)]
    ids = sequences.ids.copy()
    ids[masked] = tokenizer.mask
    ids[replaced] = rng.choice(np.flatnonzero(tokenizer.is_word), replaced.size)
    return ids
