"""Towers: vectors of sessions, and of the products that they are compared with.

The User Behavior Model and every baseline are towers, so that one loop trains them and one evaluation measures them.

Letters: B sessions with I interactions in all, N distinct interactions, K products, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ubm_embed.data.arrays import IntArray
from ubm_embed.data.batches.chunks import Chunks
from ubm_embed.data.batches.distinct_batches import (
    NO_ACTION,
    distinct_interactions,
    interaction_codes,
    interaction_sequences,
)
from ubm_embed.data.batches.packing import Packing, TokenBatch
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.model.user_behavior_model import InteractionEncoder, UserBehaviorModel
from ubm_embed.progress import Progress, silent

TEMPERATURE = 0.05
TOKENS_PER_BATCH = 16_384


class Tower(Protocol):
    """An `nn.Module` over the rows of one token table, whose first M rows are the catalogue's products.

    Attributes:
        temperature: a score is the cosine of the two vectors, divided by it; None for plain inner products.
    """

    temperature: float | None

    def sessions(self, sessions: SessionTable) -> Tensor:
        """Vectors of B sessions with at least one interaction each, read from their last ones: [B, D]."""

    def products(self, rows: IntArray) -> Tensor:
        """Vectors of K products: [K, D]."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Its weights; those that require a gradient are trained."""


class CausalTower(Tower, Protocol):
    """A tower that reads all prefixes of a session in one pass."""

    max_interactions: int

    def prefixes(self, sessions: SessionTable) -> Tensor:
        """Vectors of every prefix of B sessions of up to `max_interactions`, in the order of the interactions: [I, D].

        The vector at a session's k-th interaction is what `sessions` returns for its first k interactions.
        """


class TextInteractions(nn.Module):
    """Interactions read from their text.

    Args:
        chunk_tokens: limit of tokens per chunk. Training keeps the activations of one chunk in memory; the others are
            read again for the backward pass, with the same dropout masks (GradCache, Gao et al. 2021). None reads all
            of them at once.
    """

    def __init__(
        self,
        encoder: InteractionEncoder,
        tokenizer: InteractionTokenizer,
        texts: TokenTable,
        *,
        chunk_tokens: int | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.tokenizer, self.texts = encoder, tokenizer, texts
        self.chunk_tokens = chunk_tokens

    @property
    def device(self) -> torch.device:
        """The device of the encoder."""
        return next(self.encoder.parameters()).device

    def forward(self, actions: IntArray, rows: IntArray) -> Tensor:
        """Vectors of N distinct interactions, by action code (or `NO_ACTION`) and text row: [N, D]."""
        return self._in_chunks(self.encoder, actions, rows)

    def read_texts(self, actions: IntArray, rows: IntArray) -> Tensor:
        """What the encoder reads from the words of N distinct interactions, before its projection: [N, E]."""
        return self._in_chunks(self.encoder.read_text, actions, rows)

    def tokens(self, actions: IntArray, rows: IntArray) -> TokenBatch:
        """The tokens of N interactions, on the encoder's device."""
        sequences = interaction_sequences(self.tokenizer, self.texts, actions, rows)
        return TokenBatch.from_table(sequences).to(self.device)

    def _in_chunks(self, encode: Callable[[TokenBatch], Tensor], actions: IntArray, rows: IntArray) -> Tensor:
        def read(actions: IntArray, rows: IntArray) -> Tensor:
            return encode(self.tokens(actions, rows))

        chunks = Chunks.from_lengths(self.texts.lengths[rows], self.chunk_tokens)
        *others, last = [(actions[begin:end], rows[begin:end]) for begin, end in map(chunks.ends, range(len(chunks)))]
        if torch.is_grad_enabled():
            # All but the last, with which the backward pass begins.
            vectors = [checkpoint(read, *part, use_reentrant=False) for part in others]
        else:
            vectors = [read(*part) for part in others]
        return torch.cat([*vectors, read(*last)])


class CachedInteractions(nn.Module):
    """Interactions that were encoded in advance: every pair of action and text row that will be read."""

    vectors: Tensor

    def __init__(self, actions: IntArray, rows: IntArray, vectors: Tensor) -> None:
        super().__init__()
        self._codes = interaction_codes(actions, rows)
        assert np.all(np.diff(self._codes) > 0), "distinct interactions, in order"
        self.register_buffer("vectors", vectors, persistent=False)

    @classmethod
    @torch.no_grad()
    def from_texts(
        cls,
        interactions: TextInteractions,
        actions: IntArray,
        rows: IntArray,
        progress: Progress = silent,
        *,
        tokens_per_batch: int = TOKENS_PER_BATCH,
    ) -> CachedInteractions:
        """Encode the distinct ones among these, without dropout. The encoder is left in evaluation mode."""
        actions, rows, _ = distinct_interactions(actions, rows)
        interactions.encoder.eval()
        vectors, done = torch.empty(0), 0
        for part in interactions.texts.take(rows).batches(tokens_per_batch, by_length=False):
            encoded = interactions(actions[part], rows[part])
            if not done:
                vectors = encoded.new_empty(rows.size, encoded.shape[1])
            vectors[torch.from_numpy(part).to(vectors.device)] = encoded
            done += part.size
            progress("reading interactions", done, rows.size)
        return cls(actions, rows, vectors)

    def forward(self, actions: IntArray, rows: IntArray) -> Tensor:
        """[N, D]. Every one of them must have been encoded."""
        row = np.searchsorted(self._codes, interaction_codes(actions, rows))
        return self.vectors[torch.from_numpy(row).to(self.vectors.device)]


class Interactions(Protocol):
    """An `nn.Module` that reads interactions."""

    def __call__(self, actions: IntArray, rows: IntArray, /) -> Tensor:
        """Vectors of N distinct interactions, by action code (or `NO_ACTION`) and text row: [N, D]."""


class UBMTower(nn.Module):
    """The User Behavior Model as a tower: sessions as h', products as sessions of length 1 (paper 3.4.3).

    Args:
        interactions: reads interactions, from their texts or from what was read of them before.
        frozen: [M, D], the vectors V of a product tower that is not trained; None if this model reads the products
            too, and is trained on them.
    """

    frozen: Tensor | None

    def __init__(self, model: UserBehaviorModel, interactions: Interactions, frozen: Tensor | None) -> None:
        super().__init__()
        self.temperature: float | None = TEMPERATURE
        self.session_encoder = model.session_encoder
        self.interactions = interactions
        self.max_interactions = model.config.max_interactions
        self.register_buffer("frozen", frozen, persistent=False)

    def sessions(self, sessions: SessionTable) -> Tensor:
        """h' [B, D]."""
        return cast(Tensor, self.session_encoder(*self._read(sessions.last(self.max_interactions))))

    def prefixes(self, sessions: SessionTable) -> Tensor:
        """h' of every prefix of B sessions, the whole ones among them, in the order of the interactions: [I, D].

        Raises:
            ValueError: the session encoder is not causal, or a session is longer than `max_interactions`.
        """
        return self.session_encoder.prefixes(*self._read(sessions))

    def _read(self, sessions: SessionTable) -> tuple[Tensor, Packing]:
        """b' [I, D], each distinct interaction encoded once, and where they lie."""
        actions, rows, index = distinct_interactions(sessions.actions.astype(np.int64), sessions.rows.astype(np.int64))
        distinct: Tensor = self.interactions(actions, rows)
        which = torch.from_numpy(index).to(distinct.device)
        return distinct[which], Packing.from_lengths(sessions.lengths).to(distinct.device)

    def products(self, rows: IntArray) -> Tensor:
        """V [K, D]."""
        rows = np.asarray(rows, dtype=np.int64)
        if self.frozen is not None:
            return self.frozen[torch.from_numpy(rows).to(self.frozen.device)]
        alone: Tensor = self.interactions(np.full(rows.size, NO_ACTION), rows)
        ones = Packing.from_lengths(np.ones(rows.size, dtype=np.int64)).to(alone.device)
        return cast(Tensor, self.session_encoder(alone, ones))
