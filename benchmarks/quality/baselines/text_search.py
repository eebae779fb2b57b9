"""Products in the order in which their texts fit a search phrase: what needs no shopper and no training.

Letters: M products, P phrases.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from benchmarks.quality.baselines.text_match import mean_of_tokens
from ubm_embed.data.arrays import FloatArray, IntArray

# As many as sentence-transformers reads of a text with small models.
_MAX_TOKENS = 256
# Reciprocal rank fusion's constant (Cormack, Clarke, Büttcher 2009).
_RANK_OFFSET = 60


def tfidf_scores(texts: Sequence[str], phrases: Sequence[str]) -> FloatArray:
    """Cosines of phrases with texts, as scikit-learn weighs words by default: [P, M]."""
    words = TfidfVectorizer(dtype=np.float32)
    products = words.fit_transform(texts)
    return cast(FloatArray, (words.transform(phrases) @ products.T).toarray())


def sentence_scores(texts: Sequence[str], phrases: Sequence[str], source: str) -> FloatArray:
    """Cosines of phrases with texts, by a pre-trained encoder that is read by the mean of its tokens: [P, M]."""
    vectors = mean_of_tokens([*texts, *phrases], source, max_tokens=_MAX_TOKENS)
    return vectors[len(texts) :] @ vectors[: len(texts)].T


def fused_scores(scores: Sequence[FloatArray]) -> FloatArray:
    """Several scores fused by rank, [P, M] each: the sum of 1 / (60 + rank), ranks from 1."""
    return cast(FloatArray, np.sum([1 / (_RANK_OFFSET + _ranks(one)) for one in scores], axis=0))


def best(scores: FloatArray, k: int) -> IntArray:
    """The K best of each row, equal ones by position: [P, M] -> [P, K]."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def _ranks(scores: FloatArray) -> IntArray:
    """[P, M], 1 for the best of a row."""
    ranks = np.empty(scores.shape, np.int64)
    np.put_along_axis(ranks, best(scores, scores.shape[1]), np.arange(1, scores.shape[1] + 1)[None], axis=1)
    return ranks
