"""Positive pairs: products and sessions, and what the augmentations of pre-training make of them (paper 3.3, 4.6).

Letters: K products, S sessions, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from indexer.diagnostics.session_sample import SessionSample
from indexer.diagnostics.space import Space, sample_rows
from ubm_embed.data.arrays import BoolArray, FloatArray
from ubm_embed.data.batches.augmentations import (
    mask_action_and_item_tokens,
    mask_item_tokens,
    reorder_interactions,
)
from ubm_embed.data.batches.distinct_batches import interaction_sequences
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.inference.embedder import Embedder

MASKED, REORDERED = "masked", "reordered"


@dataclass(frozen=True)
class Views:
    """Vectors as they are, not normalised, and their augmented copies.

    Attributes:
        vectors: [N, D].
        copies: by augmentation, of the same rows: each [N, D].
    """

    vectors: FloatArray
    copies: Mapping[str, FloatArray]

    @property
    def damaged(self) -> BoolArray:
        """Which have a vector that is not finite, as a damaged model makes: [N]."""
        parts = [np.isfinite(part).all(axis=1) for part in (self.vectors, *self.copies.values())]
        return np.asarray(~np.all(parts, axis=0))

    def sound(self) -> Views:
        """The others."""
        kept = ~self.damaged
        return Views(self.vectors[kept], {name: part[kept] for name, part in self.copies.items()})


def product_views(space: Space, count: int, seed: int) -> Views:
    """Products read again, and with item token masking (3.3.2)."""
    tokenizer = space.embedder.tokenizer
    texts = TokenTable.from_rows([*map(tokenizer.product_text, space.products(sample_rows(space, count, seed)))])
    masked = mask_item_tokens(texts, tokenizer, np.random.default_rng([seed, 8]))
    return Views(space.embedder.encode_texts(texts), {MASKED: space.embedder.encode_texts(masked)})


def session_views(embedder: Embedder, sample: SessionSample, seed: int) -> Views:
    """Sessions, with action and item token masking (3.3.5), and with two interactions swapped (3.3.4).

    Sessions of which the model reads fewer than two interactions are left out.
    """
    corpus = TokenizedCorpus.from_corpus(sample.corpus, embedder.tokenizer)
    sessions = corpus.sessions.last(embedder.max_interactions)
    sessions = sessions.take(np.flatnonzero(sessions.lengths > 1))
    rng = np.random.default_rng([seed, 9])
    return Views(
        embedder.encode_table(corpus.texts, sessions),
        {
            MASKED: _masked(embedder, corpus.texts, sessions, rng),
            REORDERED: embedder.encode_table(corpus.texts, reorder_interactions(sessions, rng)),
        },
    )


def _masked(embedder: Embedder, texts: TokenTable, sessions: SessionTable, rng: np.random.Generator) -> FloatArray:
    sequences = interaction_sequences(embedder.tokenizer, texts, sessions.actions, sessions.rows)
    masked = mask_action_and_item_tokens(sequences, embedder.tokenizer, rng)
    tokens = [masked.row(row).tobytes() for row in range(len(masked))]
    bounds = zip(sessions.offsets[:-1], sessions.offsets[1:], strict=True)
    return embedder.embed_tokens([tokens[first:last] for first, last in bounds])
