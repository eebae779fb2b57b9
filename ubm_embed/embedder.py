"""Products and sessions to unit vectors.

Letters: B sessions, M products, N different interactions, D width (256).
"""

from __future__ import annotations

from collections import OrderedDict
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
from ubm_embed.data.batches import NO_ACTION, TokenBatch, interaction_sequences
from ubm_embed.data.packing import Packing
from ubm_embed.data.session import Interaction, Product, Session
from ubm_embed.data.session_table import SessionTable
from ubm_embed.data.token_table import TokenTable
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.progress import Progress, silent

# Tokens read at once: enough to keep a device busy, little enough for a small one.
_TOKENS_AT_ONCE = {"cpu": 8_192, "cuda": 262_144}
_PRODUCTS_AT_ONCE = 50_000


class Embedder:
    """Turns products and sessions into float32 vectors of length 1, so that an inner product is a cosine.

    Products are read by the model's product tower where it has one, sessions by the model itself.

    Interaction vectors are kept by their token sequence, which holds the action and the text: a live session whose
    interactions are known costs one small pass of the session encoder. The cache lives as long as this model does, so
    vectors of two models never meet in it. Several threads may ask at once.

    Args:
        device: "auto" takes a GPU where there is one.
        cache_size: interaction vectors to keep, the least recently used go first; 1.7 KB each at D = 256.
    """

    def __init__(self, checkpoint: Checkpoint, *, device: str = "auto", cache_size: int = 100_000) -> None:
        self.checkpoint = checkpoint
        self.device = choose_device(device)
        self.model = checkpoint.model.to(self.device).eval()
        self._product_model = checkpoint.products.model.to(self.device).eval()
        self.tokenizer = checkpoint.tokenizer
        self._tokens_at_once = _TOKENS_AT_ONCE[self.device.type if self.device.type == "cuda" else "cpu"]
        self._cache_size = cache_size
        self._cache: OrderedDict[bytes, Tensor] = OrderedDict()
        self._cache_lock = Lock()

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, device: str = "auto") -> Self:
        """An embedder over the model of a folder."""
        return cls(Checkpoint.from_pretrained(folder), device=device)

    @property
    def model_id(self) -> str:
        """Which model these vectors come from."""
        return self.checkpoint.model_id

    @property
    def dimension(self) -> int:
        """Width of the vectors, D."""
        return self.model.config.dimension

    def embed_products(self, products: pl.DataFrame, *, progress: Progress = silent) -> FloatArray:
        """Vectors of a frame with title, category and attributes: [M, D]. A text that repeats is read once."""
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
        if not sessions:
            return torch.empty(0, self.dimension, device=self.device)
        limit = self.model.config.max_interactions
        kept = [session.interactions[-limit:] for session in sessions]
        if not all(kept):
            raise ValueError("a session without interactions has no vector")
        lengths = np.array([len(interactions) for interactions in kept], dtype=np.int64)
        sequences = self._sequences([interaction for interactions in kept for interaction in interactions])
        return self._encode_sessions(sequences, lengths)

    def encode_product_as_session(self, product: Product) -> Tensor:
        """h' of a session that holds nothing but this product, without an action: [1, D]."""
        text = TokenTable.from_rows([self.tokenizer.product_text(product)])
        alone = interaction_sequences(self.tokenizer, text, np.array([NO_ACTION]), np.array([0]))
        return self._encode_sessions(alone, np.array([1]))

    def embed_table(self, texts: TokenTable, sessions: SessionTable) -> FloatArray:
        """Unit vectors of sessions over a token table: [B, D]. The last `max_interactions` of each are read."""
        return _unit(self.encode_table(texts, sessions))

    def encode_table(self, texts: TokenTable, sessions: SessionTable) -> Tensor:
        """h' of sessions over a token table: [B, D]. The last `max_interactions` of each are read."""
        last = sessions.last(self.model.config.max_interactions)
        return self._encode_sessions(
            interaction_sequences(self.tokenizer, texts, last.actions, last.rows), last.lengths
        )

    @torch.inference_mode()
    def _embed_texts(self, texts: TokenTable, report: Callable[[int, int], None] | None = None) -> FloatArray:
        different, which = texts.distinct()
        rows = np.arange(len(different))
        sequences = interaction_sequences(self.tokenizer, different, np.full(rows.size, NO_ACTION), rows)
        vectors = torch.empty(rows.size, self.dimension)
        done = 0
        for part in sequences.batches(self._tokens_at_once):
            vectors[part] = self._unit_products(sequences.take(part)).cpu()
            done += part.size
            if report is not None:
                report(done, rows.size)
        embedded: FloatArray = vectors.numpy()[which]
        return embedded

    def _unit_products(self, sequences: TokenTable) -> Tensor:
        """Each sequence as a session of length 1 (paper 3.4.3)."""
        interactions = self._product_model.interaction_encoder(TokenBatch.of(sequences).to(self.device))
        alone = Packing.of(np.ones(len(sequences), dtype=np.int64)).to(self.device)
        return normalize(self._product_model.session_encoder(interactions, alone), dim=1)

    @torch.inference_mode()
    def _encode_sessions(self, sequences: TokenTable, lengths: IntArray) -> Tensor:
        interactions = self._interaction_vectors(sequences)
        vectors: Tensor = self.model.session_encoder(interactions, Packing.of(lengths).to(self.device))
        return vectors

    def _interaction_vectors(self, sequences: TokenTable) -> Tensor:
        """[K, D], from the cache where it has them."""
        keys = [sequences.row(index).tobytes() for index in range(len(sequences))]
        with self._cache_lock:
            found = {key: self._cache[key] for key in keys if key in self._cache}
        first = {key: index for index, key in reversed(list(enumerate(keys))) if key not in found}
        missing = np.array(sorted(first.values()), dtype=np.int64)
        for part in sequences.take(missing).batches(self._tokens_at_once) if missing.size else ():
            encoded = self.model.interaction_encoder(TokenBatch.of(sequences.take(missing[part])).to(self.device))
            found.update(zip((keys[index] for index in missing[part]), encoded.unbind(), strict=True))
        with self._cache_lock:
            self._remember(found)
        return torch.stack([found[key] for key in keys])

    def _remember(self, used: dict[bytes, Tensor]) -> None:
        for key, vector in used.items():
            # A row of a batch is a view: kept as it is, it would hold the whole batch in memory.
            self._cache[key] = self._cache.pop(key) if key in self._cache else vector.clone()
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)

    def _sequences(self, interactions: Sequence[Interaction]) -> TokenTable:
        texts = TokenTable.from_rows([self._text(interaction) for interaction in interactions])
        actions = np.array([interaction.action.code for interaction in interactions])
        return interaction_sequences(self.tokenizer, texts, actions, np.arange(len(interactions)))

    def _text(self, interaction: Interaction) -> IntArray:
        if interaction.product is not None:
            return self.tokenizer.product_text(interaction.product)
        if interaction.query is not None:
            return self.tokenizer.search_phrases([interaction.query]).ids
        raise ValueError(f"product {interaction.product_id!r} is named by its id only: resolve it first")


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
