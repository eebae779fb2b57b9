"""Interactions with words hidden, for an encoder to guess (masked language modelling, Devlin et al. 2019, 3.1).

Letters: N interactions, T tokens of all of them, C words to predict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ubm_embed.data.batches.distinct_batches import TokenBatch
from ubm_embed.data.batches.packing import Packing
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer

# 15% of the words are predicted; of those, 80% are shown as [MASK], 10% as a random word, and 10% as they are.
PREDICTED = 0.15
MASKED, REPLACED = 0.8, 0.1


@dataclass(frozen=True)
class MaskedWords:
    """N interactions of which some words are to be predicted.

    Attributes:
        tokens: the interactions as they are shown.
        predicted: [T] bool, in packed order, which tokens are to be predicted.
        answers: [C] int64, what stood there.
    """

    tokens: TokenBatch
    predicted: Tensor
    answers: Tensor

    @classmethod
    def of(cls, sequences: TokenTable, tokenizer: InteractionTokenizer, rng: np.random.Generator) -> Self:
        """Choose 15% of the words, at least one, and hide most of them. There must be a word."""
        chosen = _some_words(sequences, tokenizer, rng)
        shown = _hidden(sequences, chosen, tokenizer, rng)
        predicted = np.zeros(sequences.ids.size, dtype=bool)
        predicted[chosen] = True
        packing = Packing.of(sequences.lengths)
        ids, truth = (torch.from_numpy(array).long()[packing.elements] for array in (shown, sequences.ids))
        marked = torch.from_numpy(predicted)[packing.elements] & packing.filled()
        return cls(TokenBatch(ids, packing), marked, truth[marked])

    def to(self, device: torch.device) -> MaskedWords:
        """The same on another device."""
        return MaskedWords(self.tokens.to(device), self.predicted.to(device), self.answers.to(device))


def _some_words(sequences: TokenTable, tokenizer: InteractionTokenizer, rng: np.random.Generator) -> NDArray[np.int64]:
    words = np.flatnonzero(tokenizer.is_word[sequences.ids])
    assert words.size, "at least one word"
    return rng.choice(words, max(1, round(PREDICTED * words.size)), replace=False)


def _hidden(
    sequences: TokenTable, chosen: NDArray[np.int64], tokenizer: InteractionTokenizer, rng: np.random.Generator
) -> NDArray[np.int32]:
    draws = rng.random(chosen.size)
    masked, replaced = chosen[draws < MASKED], chosen[(draws >= MASKED) & (draws < MASKED + REPLACED)]
    ids = sequences.ids.copy()
    ids[masked] = tokenizer.mask
    ids[replaced] = rng.choice(np.flatnonzero(tokenizer.is_word), replaced.size)
    return ids
