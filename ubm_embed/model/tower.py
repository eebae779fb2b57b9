"""What a task asks of a model: vectors of sessions, and of the products they are held against.

Everything that is fine-tuned and compared is such a tower, the User Behavior Model and every baseline, so that one
loop trains them and one evaluation asks them.

Letters: B sessions, N different interactions, K products, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ubm_embed.data.arrays import IntArray
from ubm_embed.data.batches.chunks import Chunks
from ubm_embed.data.batches.distinct_batches import (
    NO_ACTION,
    TokenBatch,
    distinct_interactions,
    interaction_codes,
    interaction_sequences,
)
from ubm_embed.data.batches.packing import Packing
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.model.interaction_encoder import InteractionEncoder
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.progress import Progress, silent

TEMPERATURE = 0.05
_TOKENS_AT_ONCE = 16_384


class Tower(Protocol):
    """A `nn.Module` over the rows of one token table, whose first M rows are the catalogue's products.

    Attributes:
        temperature: a score is the cosine of a session's and a product's vector over it; None for inner products.
    """

    temperature: float | None

    def sessions(self, sessions: SessionTable) -> Tensor:
        """Vectors of B sessions of at least one interaction, each read from its last ones: [B, D]."""

    def products(self, rows: IntArray) -> Tensor:
        """Vectors of K products: [K, D]."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Its weights; those are trained that require a gradient."""


class CausalTower(Tower, Protocol):
    """A tower that reads all beginnings of a session in one pass."""

    max_interactions: int

    def beginnings(self, sessions: SessionTable) -> Tensor:
        """Vectors of every beginning of B sessions of at most `max_interactions`, in the order of interactions: [I, D].

        That of the k-th interaction of a session is what `sessions` makes of the session's first k.
        """


class TextInteractions(nn.Module):
    """Interactions read from their text.

    Args:
        chunk_tokens: of a chunk, at most. In training memory keeps what the backward pass needs of one chunk; the
            others are read again when their gradient comes, and drop the same elements again (GradCache, Gao et al.
            2021). None reads all at once.
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

    def forward(self, actions: IntArray, rows: IntArray) -> Tensor:
        """N different interactions by action code (or `NO_ACTION`) and text row: [N, D]."""
        if not torch.is_grad_enabled():
            return self._read(actions, rows)
        chunks = Chunks.of(self.texts.lengths[rows], self.chunk_tokens)
        *again, last = [(actions[begin:end], rows[begin:end]) for begin, end in map(chunks.ends, range(len(chunks)))]
        # The last one's gradient comes first.
        vectors = [checkpoint(self._read, *part, use_reentrant=False) for part in again]
        return torch.cat([*vectors, self._read(*last)])

    def _read(self, actions: IntArray, rows: IntArray) -> Tensor:
        sequences = interaction_sequences(self.tokenizer, self.texts, actions, rows)
        device = next(self.encoder.parameters()).device
        return cast(Tensor, self.encoder(TokenBatch.of(sequences).to(device)))


class CachedInteractions(nn.Module):
    """Interactions whose vectors are known: every pair of action and text row that will be asked for, encoded once."""

    vectors: Tensor

    def __init__(self, actions: IntArray, rows: IntArray, vectors: Tensor) -> None:
        super().__init__()
        self._codes = interaction_codes(actions, rows)
        assert np.all(np.diff(self._codes) > 0), "different interactions in order"
        self.register_buffer("vectors", vectors, persistent=False)

    @classmethod
    @torch.no_grad()
    def of(
        cls, interactions: TextInteractions, actions: IntArray, rows: IntArray, progress: Progress = silent
    ) -> CachedInteractions:
        """Encode the different ones among these, without dropout."""
        actions, rows, _ = distinct_interactions(actions, rows)
        interactions.encoder.eval()
        vectors, done = torch.empty(0), 0
        for part in interactions.texts.take(rows).batches(_TOKENS_AT_ONCE, by_length=False):
            encoded = interactions(actions[part], rows[part])
            if not done:
                vectors = encoded.new_empty(rows.size, encoded.shape[1])
            vectors[torch.from_numpy(part).to(vectors.device)] = encoded
            done += part.size
            progress("reading interactions", done, rows.size)
        return cls(actions, rows, vectors)

    def forward(self, actions: IntArray, rows: IntArray) -> Tensor:
        """[N, D]. All of them must be known."""
        places = np.searchsorted(self._codes, interaction_codes(actions, rows))
        return self.vectors[torch.from_numpy(places).to(self.vectors.device)]


class UBMTower(nn.Module):
    """The User Behavior Model as a tower: sessions as h', products as sessions of length 1 (paper 3.4.3).

    Args:
        interactions: how interactions are read.
        frozen: [M, D] vectors V of a product tower that stays as it is; None where products are read by this very
            model, and trained with it.
    """

    frozen: Tensor | None

    def __init__(
        self, model: UserBehaviorModel, interactions: TextInteractions | CachedInteractions, frozen: Tensor | None
    ) -> None:
        super().__init__()
        self.temperature: float | None = TEMPERATURE
        self.session_encoder = model.session_encoder
        self.interactions = interactions
        self.max_interactions = model.config.max_interactions
        self.register_buffer("frozen", frozen, persistent=False)

    def sessions(self, sessions: SessionTable) -> Tensor:
        """h' [B, D]."""
        return cast(Tensor, self.session_encoder(*self._read(sessions.last(self.max_interactions))))

    def beginnings(self, sessions: SessionTable) -> Tensor:
        """h' of every beginning of B sessions, the whole ones among them, in the order of the interactions: [I, D].

        Raises:
            ValueError: the session encoder is not causal, or a session has more interactions than it reads.
        """
        return self.session_encoder.beginnings(*self._read(sessions))

    def _read(self, sessions: SessionTable) -> tuple[Tensor, Packing]:
        """b' [I, D], each different interaction encoded once, and where they lie."""
        actions, rows, index = distinct_interactions(sessions.actions.astype(np.int64), sessions.rows.astype(np.int64))
        different: Tensor = self.interactions(actions, rows)
        places = torch.from_numpy(index).to(different.device)
        return different[places], Packing.of(sessions.lengths).to(different.device)

    def products(self, rows: IntArray) -> Tensor:
        """V [K, D]."""
        rows = np.asarray(rows, dtype=np.int64)
        if self.frozen is not None:
            return self.frozen[torch.from_numpy(rows).to(self.frozen.device)]
        alone: Tensor = self.interactions(np.full(rows.size, NO_ACTION), rows)
        ones = Packing.of(np.ones(rows.size, dtype=np.int64)).to(alone.device)
        return cast(Tensor, self.session_encoder(alone, ones))
