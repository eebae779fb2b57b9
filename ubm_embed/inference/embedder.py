"""Products and sessions to unit vectors.

Letters: B sessions, M products, N distinct interactions, D width (256).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Self

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.data.batches.distinct_batches import NO_ACTION, interaction_sequences
from ubm_embed.data.batches.packing import Packing, TokenBatch
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.removals import take_back
from ubm_embed.data.session import Interaction, Product, Session
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.inference.runtimes.runtime import TextRuntime, encode_all
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.inference.runtimes.selection import choose_runtime
from ubm_embed.inference.runtimes.torch_runtime import TOKENS_PER_BATCH
from ubm_embed.inference.shared_cache import SharedCache
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.device import choose_device
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.progress import Progress, silent


class _Sequence(NamedTuple):
    """An interaction's tokens as the bytes of int32 ids, and whether one of them is a word that the model knows."""

    tokens: bytes
    has_words: bool


class Embedder:
    """Turns products and sessions into float32 vectors of length 1, so that an inner product is a cosine.

    The product tower reads products if the model has one; the model itself reads sessions.

    Interaction vectors are cached by their token sequence, which holds the action and the text, and token sequences by
    the interaction: a live session of known interactions costs one small pass of the session encoder. The caches belong
    to this model, so vectors of two models never mix. Several threads may call it.

    The checkpoint's models are left as they are: one that is on another device or in training mode is copied. One that
    is not copied must keep its weights and its mode.

    Args:
        device: "auto" is a GPU if there is one.
        cache_size: limit of cached interaction vectors; the least recently used are dropped first. One takes about
            3 KB at D = 256, with its text.
        runtime: what reads the texts of products, a `RuntimeName`. It is chosen when the first products are embedded,
            and unless it is "torch" compared with float32. PyTorch reads sessions.
        products_per_chunk: products that are tokenised at once.
        tokens_per_batch: tokens that are read at once; None for what suits the device.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str = "auto",
        cache_size: int = 100_000,
        runtime: str = "torch",
        products_per_chunk: int = 50_000,
        tokens_per_batch: int | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.device = choose_device(device)
        self.model = _for_inference(checkpoint.model, self.device)
        products = checkpoint.products.model
        self._product_model = self.model if products is checkpoint.model else _for_inference(products, self.device)
        self._runtime_name = RuntimeName(runtime)
        self._runtime: TextRuntime | None = None
        self._runtime_lock = Lock()
        self.tokenizer = checkpoint.tokenizer
        self._products_per_chunk = products_per_chunk
        self._tokens_per_batch = tokens_per_batch or TOKENS_PER_BATCH["cuda" if self.device.type == "cuda" else "cpu"]
        self._session_encoder = self.model.session_encoder.frozen()
        self._sequences: SharedCache[Interaction, _Sequence] = SharedCache(cache_size)
        self._vectors: SharedCache[bytes, Tensor] = SharedCache(cache_size)

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, device: str = "auto", runtime: str = "torch") -> Self:
        """An embedder over the model of a folder."""
        checkpoint = Checkpoint.from_pretrained(folder)
        for model in (checkpoint.model, checkpoint.products.model):
            model.to(choose_device(device))  # nobody else has them: moved, they need no copy
        return cls(checkpoint, device=device, runtime=runtime)

    @property
    def model_id(self) -> str:
        """The id of the model that makes the vectors."""
        return self.checkpoint.model_id

    @property
    def runtime(self) -> RuntimeName | None:
        """What reads the texts of products; None before the first."""
        return None if self._runtime is None else self._runtime.name

    @property
    def dimension(self) -> int:
        """Width of the vectors, D."""
        return self.model.config.dimension

    def embed_products(self, products: pl.DataFrame, *, progress: Progress = silent) -> FloatArray:
        """Vectors of a frame with title, category and attributes: [M, D]. Equal texts are read once.

        Raises:
            NotFound: the runtime's library is not installed, or does not run on this device.
            QualityGateFailed: on a sample the runtime's vectors do not agree with those of float32.
        """
        parts = []
        for number, chunk in enumerate(products.iter_slices(self._products_per_chunk)):
            first = number * self._products_per_chunk
            report = partial(_report, progress, first, chunk.height, products.height)
            parts.append(self._embed_texts(self.tokenizer.product_texts(chunk), report))
        return np.concatenate(parts) if parts else np.empty((0, self.dimension), np.float32)

    def embed_product(self, product: Product) -> FloatArray:
        """The vector of one product: [D]."""
        vector: FloatArray = self._embed_texts(TokenTable.from_rows([self.tokenizer.product_text(product)]))[0]
        return vector

    def embed_sessions(self, sessions: Sequence[Session]) -> FloatArray:
        """Unit vectors of sessions: [B, D]. The last `max_interactions` of each are read.

        A model without a token for removals from the cart reads a session as if the adds had not been.

        Raises:
            ValueError: a session has no interactions to read, or an interaction names a product by id: resolve it
                first.
        """
        return _unit(self.encode_sessions(sessions))

    def readable_session(self, session: Session) -> Session:
        """The session without interactions of whose text the model knows no word, such as Chinese for an English model.

        Adds that were taken back are gone, too, unless the model has a token for removals. The session may be empty.
        Interactions before those that the model reads are left as they are.
        """
        limit, interactions = self.model.config.max_interactions, self._readable(session)
        kept: tuple[Interaction, ...] = ()
        end = len(interactions)
        while end and len(kept) < limit:
            part = interactions[max(0, end - limit) : end]
            sequences = self._sequences.get(part, self._tokenised)
            kept = (*(one for one, sequence in zip(part, sequences, strict=True) if sequence.has_words), *kept)
            end -= len(part)
        return replace(session, interactions=(*interactions[:end], *kept))

    def encode_sessions(self, sessions: Sequence[Session]) -> Tensor:
        """h' of sessions, not normalised, on the model's device: [B, D].

        Raises:
            ValueError: as `embed_sessions`.
        """
        limit = self.model.config.max_interactions
        recent = [self._readable(session)[-limit:] for session in sessions]
        if not all(recent):
            raise ValueError("a session without interactions has no vector")
        lengths = np.array([len(interactions) for interactions in recent], dtype=np.int64)
        sequences = self._sequences_of([interaction for interactions in recent for interaction in interactions])
        return self._encode_sessions(sequences, lengths)

    def encode_product_as_session(self, product: Product) -> Tensor:
        """h' of a session of this product alone, without an action: [1, D]."""
        text = TokenTable.from_rows([self.tokenizer.product_text(product)])
        sequence = interaction_sequences(self.tokenizer, text, np.array([NO_ACTION]), np.array([0]))
        return self._encode_sessions(_rows(sequence), np.array([1]))

    def embed_table(self, texts: TokenTable, sessions: SessionTable) -> FloatArray:
        """Unit vectors of sessions over a token table: [B, D]. The last `max_interactions` of each are read."""
        return _unit(self.encode_table(texts, sessions))

    def encode_table(self, texts: TokenTable, sessions: SessionTable) -> Tensor:
        """h' of sessions over a token table: [B, D]. The last `max_interactions` of each are read.

        It is 0 for a session without interactions.
        """
        if not self.tokenizer.reads_removals:
            sessions = sessions.take_back()
        filled = np.flatnonzero(sessions.lengths)
        if filled.size < len(sessions):
            vectors = torch.zeros(len(sessions), self.dimension, device=self.device)
            vectors[torch.from_numpy(filled)] = self.encode_table(texts, sessions.take(filled))
            return vectors
        last = sessions.last(self.model.config.max_interactions)
        sequences = interaction_sequences(self.tokenizer, texts, last.actions, last.rows)
        return self._encode_sessions(_rows(sequences), last.lengths)

    def _embed_texts(self, texts: TokenTable, report: Callable[[int, int], None] | None = None) -> FloatArray:
        distinct, which = texts.distinct()
        rows = np.arange(len(distinct))
        sequences = interaction_sequences(self.tokenizer, distinct, np.full(rows.size, NO_ACTION), rows)
        embedded: FloatArray = encode_all(self._chosen_runtime(sequences), sequences, report)[which]
        return embedded

    def _chosen_runtime(self, sequences: TokenTable) -> TextRuntime:
        """The runtime for all products, chosen by the first ones: vectors of two runtimes differ slightly."""
        with self._runtime_lock:
            if self._runtime is None:
                self._runtime = choose_runtime(self._runtime_name, self._product_model, sequences)
            return self._runtime

    @torch.inference_mode()
    def _encode_sessions(self, sequences: Sequence[bytes], lengths: IntArray) -> Tensor:
        if not len(lengths):
            return torch.empty(0, self.dimension, device=self.device)
        vectors = torch.stack(self._vectors.get(sequences, self._read))
        return self._session_encoder(vectors, Packing.from_lengths(lengths).to(self.device))

    def _read(self, sequences: list[bytes]) -> list[Tensor]:
        """b' of distinct token sequences, the bytes of int32 ids: N times [D]."""
        table = TokenTable.from_rows([np.frombuffer(sequence, np.int32) for sequence in sequences])
        vectors: list[Tensor] = []
        for part in table.batches(self._tokens_per_batch, by_length=False):
            encoded = self.model.interaction_encoder(TokenBatch.from_table(table.take(part)).to(self.device))
            # Rows are views, and one of them would keep the whole batch in memory.
            vectors.extend(vector.clone() for vector in encoded)
        return vectors

    def _readable(self, session: Session) -> tuple[Interaction, ...]:
        return session.interactions if self.tokenizer.reads_removals else take_back(session.interactions)

    def _sequences_of(self, interactions: Sequence[Interaction]) -> list[bytes]:
        """Token sequences of interactions, as the bytes of their ids."""
        return [sequence.tokens for sequence in self._sequences.get(interactions, self._tokenised)]

    def _tokenised(self, interactions: list[Interaction]) -> list[_Sequence]:
        texts = TokenTable.from_rows([self._text(interaction) for interaction in interactions])
        actions = np.array([interaction.action.code for interaction in interactions])
        table = interaction_sequences(self.tokenizer, texts, actions, np.arange(len(interactions)))
        is_word = self.tokenizer.is_word
        return [_Sequence(table.row(row).tobytes(), bool(is_word[table.row(row)].any())) for row in range(len(table))]

    def _text(self, interaction: Interaction) -> IntArray:
        if interaction.product is not None:
            return self.tokenizer.product_text(interaction.product)
        if interaction.query is not None:
            return self.tokenizer.search_phrases([interaction.query]).ids
        raise ValueError(f"product {interaction.product_id!r} is named by its id only: resolve it first")


def _for_inference(model: UserBehaviorModel, device: torch.device) -> UserBehaviorModel:
    """The model itself if it is on the device and in evaluation mode, else a copy that is."""
    if model.device == device and not any(module.training for module in model.modules()):
        return model
    return deepcopy(model).to(device).eval()


def _rows(sequences: TokenTable) -> list[bytes]:
    return [sequences.row(index).tobytes() for index in range(len(sequences))]


def _unit(vectors: Tensor) -> FloatArray:
    unit: FloatArray = normalize(vectors, dim=1).cpu().numpy()
    return unit


def _report(progress: Progress, first: int, size: int, total: int, done: int, of: int) -> None:
    """Report `done` of the `of` distinct texts of `size` products, as products; `first` products were done before."""
    progress("embedding products", first + done * size // of, total)
