"""Products and sessions to unit vectors.

Letters: B sessions, M products, N different interactions, D width (256).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Self

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.data.batches.distinct_batches import NO_ACTION, TokenBatch, interaction_sequences
from ubm_embed.data.batches.packing import Packing
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.session import Interaction, Product, Session
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.inference.allocation import keep_freed_memory
from ubm_embed.inference.recently_used import RecentlyUsed
from ubm_embed.inference.runtimes.runtime import TextRuntime, encode_all
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.inference.runtimes.selection import choose_runtime
from ubm_embed.inference.runtimes.torch_runtime import TOKENS_AT_ONCE
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.progress import Progress, silent

_PRODUCTS_AT_ONCE = 50_000


class Embedder:
    """Turns products and sessions into float32 vectors of length 1, so that an inner product is a cosine.

    Products are read by the model's product tower where it has one, sessions by the model itself.

    Interaction vectors are kept by their token sequence, which holds the action and the text, and token sequences by
    the interaction: a live session whose interactions are known costs one small pass of the session encoder. The caches
    live as long as this model does, so vectors of two models never meet in them; its weights must not change meanwhile.
    Several threads may ask at once.

    Args:
        device: "auto" takes a GPU where there is one.
        cache_size: interaction vectors to keep, the least recently used go first; about 3 KB each at D = 256, text
            included.
        runtime: what reads the texts of products, a `RuntimeName`; chosen, and unless it is "torch" checked against
            float32, with the first products that are embedded. Sessions are read by PyTorch.
    """

    def __init__(
        self, checkpoint: Checkpoint, *, device: str = "auto", cache_size: int = 100_000, runtime: str = "torch"
    ) -> None:
        self.checkpoint = checkpoint
        self.device = choose_device(device)
        self.model = checkpoint.model.to(self.device).eval()
        self._product_model = checkpoint.products.model.to(self.device).eval()
        self._encoder = RuntimeName(runtime)
        self._engine: TextRuntime | None = None
        self._engine_lock = Lock()
        self.tokenizer = checkpoint.tokenizer
        self._tokens_at_once = TOKENS_AT_ONCE[self.device.type if self.device.type == "cuda" else "cpu"]
        self._session_encoder = self.model.session_encoder.frozen()
        self._sequences: RecentlyUsed[Interaction, bytes] = RecentlyUsed(cache_size)
        self._vectors: RecentlyUsed[bytes, Tensor] = RecentlyUsed(cache_size)

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, device: str = "auto", runtime: str = "torch") -> Self:
        """An embedder over the model of a folder."""
        return cls(Checkpoint.from_pretrained(folder), device=device, runtime=runtime)

    @property
    def model_id(self) -> str:
        """Which model these vectors come from."""
        return self.checkpoint.model_id

    @property
    def runtime(self) -> RuntimeName | None:
        """What reads the texts of products; None before the first."""
        return None if self._engine is None else self._engine.name

    @property
    def dimension(self) -> int:
        """Width of the vectors, D."""
        return self.model.config.dimension

    def embed_products(self, products: pl.DataFrame, *, progress: Progress = silent) -> FloatArray:
        """Vectors of a frame with title, category and attributes: [M, D]. A text that repeats is read once.

        Raises:
            NotFound: the encoder's library is not installed, or it does not compute on this device.
            QualityGateFailed: the encoder's vectors are not those of float32, on a sample.
        """
        keep_freed_memory()
        parts = []
        for number, chunk in enumerate(products.iter_slices(_PRODUCTS_AT_ONCE)):
            report = partial(_report, progress, number * _PRODUCTS_AT_ONCE, chunk.height, products.height)
            parts.append(self._embed_texts(self.tokenizer.product_texts(chunk), report))
        return np.concatenate(parts) if parts else np.empty((0, self.dimension), np.float32)

    def embed_product(self, product: Product) -> FloatArray:
        """The vector of one product: [D]."""
        vector: FloatArray = self._embed_texts(TokenTable.from_rows([self.tokenizer.product_text(product)]))[0]
        return vector

    def embed_sessions(self, sessions: Sequence[Session]) -> FloatArray:
        """Unit vectors of sessions: [B, D]. The last `max_interactions` of each are read.

        Raises:
            ValueError: a session without interactions, or an interaction that names a product by id: resolve it first.
        """
        return _unit(self.encode_sessions(sessions))

    def encode_sessions(self, sessions: Sequence[Session]) -> Tensor:
        """h' of sessions as the session encoder has it, on the model's device: [B, D].

        Raises:
            ValueError: as `embed_sessions`.
        """
        limit = self.model.config.max_interactions
        kept = [session.interactions[-limit:] for session in sessions]
        if not all(kept):
            raise ValueError("a session without interactions has no vector")
        lengths = np.array([len(interactions) for interactions in kept], dtype=np.int64)
        sequences = self._sequences_of([interaction for interactions in kept for interaction in interactions])
        return self._encode_sessions(sequences, lengths)

    def encode_product_as_session(self, product: Product) -> Tensor:
        """h' of a session that holds nothing but this product, without an action: [1, D]."""
        text = TokenTable.from_rows([self.tokenizer.product_text(product)])
        alone = interaction_sequences(self.tokenizer, text, np.array([NO_ACTION]), np.array([0]))
        return self._encode_sessions(_rows(alone), np.array([1]))

    def embed_table(self, texts: TokenTable, sessions: SessionTable) -> FloatArray:
        """Unit vectors of sessions over a token table: [B, D]. The last `max_interactions` of each are read."""
        return _unit(self.encode_table(texts, sessions))

    def encode_table(self, texts: TokenTable, sessions: SessionTable) -> Tensor:
        """h' of sessions over a token table: [B, D]. The last `max_interactions` of each are read."""
        last = sessions.last(self.model.config.max_interactions)
        sequences = interaction_sequences(self.tokenizer, texts, last.actions, last.rows)
        return self._encode_sessions(_rows(sequences), last.lengths)

    def _embed_texts(self, texts: TokenTable, report: Callable[[int, int], None] | None = None) -> FloatArray:
        different, which = texts.distinct()
        rows = np.arange(len(different))
        sequences = interaction_sequences(self.tokenizer, different, np.full(rows.size, NO_ACTION), rows)
        embedded: FloatArray = encode_all(self._engine_for(sequences), sequences, report)[which]
        return embedded

    def _engine_for(self, sequences: TokenTable) -> TextRuntime:
        """The same for all, once these are the first: two engines' vectors differ, if slightly."""
        with self._engine_lock:
            if self._engine is None:
                self._engine = choose_runtime(self._encoder, self._product_model, sequences)
            return self._engine

    @torch.inference_mode()
    def _encode_sessions(self, sequences: Sequence[bytes], lengths: IntArray) -> Tensor:
        if not len(lengths):
            return torch.empty(0, self.dimension, device=self.device)
        return self._session_encoder(self._interaction_vectors(sequences), Packing.of(lengths).to(self.device))

    def _interaction_vectors(self, sequences: Sequence[bytes]) -> Tensor:
        """b' of token sequences (int32): [K, D], from the cache where it has them."""
        found = self._vectors.found(sequences)
        missing = [sequence for sequence in dict.fromkeys(sequences) if sequence not in found]
        table = TokenTable.from_rows([np.frombuffer(sequence, np.int32) for sequence in missing])
        for part in table.batches(self._tokens_at_once, by_length=False) if missing else ():
            encoded = self.model.interaction_encoder(TokenBatch.from_table(table.take(part)).to(self.device))
            # A row of a batch is a view: kept as it is, it would hold the whole batch in memory.
            read = {missing[row]: vector.clone() for row, vector in zip(part, encoded, strict=True)}
            self._vectors.keep(read)
            found.update(read)
        return torch.stack([found[sequence] for sequence in sequences])

    def _sequences_of(self, interactions: Sequence[Interaction]) -> list[bytes]:
        """Token sequences of interactions, as the bytes of their ids; those that came before are not split again."""
        found = self._sequences.found(interactions)
        missing = [interaction for interaction in dict.fromkeys(interactions) if interaction not in found]
        if missing:
            texts = TokenTable.from_rows([self._text(interaction) for interaction in missing])
            actions = np.array([interaction.action.code for interaction in missing])
            sequences = interaction_sequences(self.tokenizer, texts, actions, np.arange(len(missing)))
            read = dict(zip(missing, _rows(sequences), strict=True))
            self._sequences.keep(read)
            found.update(read)
        return [found[interaction] for interaction in interactions]

    def _text(self, interaction: Interaction) -> IntArray:
        if interaction.product is not None:
            return self.tokenizer.product_text(interaction.product)
        if interaction.query is not None:
            return self.tokenizer.search_phrases([interaction.query]).ids
        raise ValueError(f"product {interaction.product_id!r} is named by its id only: resolve it first")


def _rows(sequences: TokenTable) -> list[bytes]:
    return [sequences.row(index).tobytes() for index in range(len(sequences))]


def _unit(vectors: Tensor) -> FloatArray:
    unit: FloatArray = normalize(vectors, dim=1).cpu().numpy()
    return unit


def _report(progress: Progress, first: int, size: int, total: int, done: int, of: int) -> None:
    """`done` of `of` different texts of `size` products from `first` on, as products of them all."""
    progress("embedding products", first + done * size // of, total)


def choose_device(name: str) -> torch.device:
    """A device by name; "auto" is a GPU where there is one, else the CPU.

    Raises:
        ValueError: no such device, or not on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(str(error).splitlines()[0]) from None
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and (device.index or 0) >= count):
        raise ValueError(f"expected cpu, or one of the {count} CUDA devices of this machine, got {name!r}")
    return device
