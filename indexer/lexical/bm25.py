"""How well words say what a product is (Robertson and Walker 1994, as BM25), and what that adds to a cosine.

Letters: N products.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import FloatArray

# Saturation of a word that occurs often, and how much long products are held back. Chosen on searches of a shop of
# electronics, where anything near them was as good.
_K1, _B = 1.2, 0.75
# The bonus is `_WEIGHT` x log(1 + score / `_SCALE`): nearly linear for a phrase of some words. For a long
# title it grows less, since it would outweigh any cosine.
_WEIGHT, _SCALE = 0.3, 20.0
_LEVELS = 255


def quantised_frequencies(counts: FloatArray, length: float | FloatArray, mean_length: float) -> NDArray[np.uint8]:
    """How much each word counts in a product of this length, as a number of 8 bits above 0: [N] -> [N]."""
    relative = counts / (counts + _K1 * (1 - _B + _B * length / max(mean_length, 1e-9)))
    return np.clip(np.rint(relative * _LEVELS), 1, _LEVELS).astype(np.uint8)


def inverse_document_frequency(products: int, having: int) -> float:
    """How rare a word is, as Lucene has it: above 0, even if most products have the word."""
    return math.log1p((products - having + 0.5) / (having + 0.5))


def scores(frequencies: NDArray[np.uint8], rarity: float) -> FloatArray:
    """What one word adds to the scores of products: [N] -> [N]."""
    added: FloatArray = frequencies * np.float32(rarity * (_K1 + 1) / _LEVELS)
    return added


def bonuses(scores: NDArray[Any]) -> FloatArray:
    """What is added to cosines for scores: [N] -> [N]."""
    return (_WEIGHT * np.log1p(scores / _SCALE)).astype(np.float32)
