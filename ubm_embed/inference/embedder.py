"""Products and sessions to unit vectors.

Letters: B sessions, M products, N distinct interactions, D width (256).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, compress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Self

import numpy as np

from ubm_embed.data.arrays import FloatArray, IntArray, unit_rows
from ubm_embed.data.batches.distinct_batches import NO_ACTION, interaction_sequences
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.removals import take_back
from ubm_embed.data.session import MAX_INTERACTIONS, Interaction, Product, Session
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.inference.runtimes.model_runtime import ModelRuntime
from ubm_embed.inference.runtimes.opening import open_model_runtime
from ubm_embed.inference.runtimes.runtime import TextRuntime, encode_all
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.inference.runtimes.selection import choose_runtime
from ubm_embed.inference.shared_cache import SharedCache
from ubm_embed.inference.token_sequences import TokenSequence, TokenSequences
from ubm_embed.model.device_name import device_name
from ubm_embed.model.folder import ModelFolder
from ubm_embed.progress import Progress, silent

if TYPE_CHECKING:
    import polars as pl

    from ubm_embed.model.checkpoint import Checkpoint


class Embedder:
    """Turns products and sessions into float32 vectors of length 1, so that an inner product is a cosine.

    The product tower reads products if the model has one; the model itself reads sessions. On a CPU, ONNX Runtime reads
    a model folder that has graphs; PyTorch reads everything else.

    Interaction vectors are cached by their token sequence, which holds the action and the text, and token sequences by
    the interaction: a live session of known interactions costs one small pass of the session encoder. The caches belong
    to this model, so vectors of two models never mix. Several threads may call it.

    Args:
        model: a model folder; or a checkpoint, whose models are left as they are: one that is on another device or in
            training mode is copied, one that is not must keep its weights and its mode.
        device: "auto" is a GPU if there is one.
        runtime: what reads the texts of products, a `RuntimeName`; None for what reads the sessions. It is chosen when
            the first products are embedded, and unless it computes in float32 compared with it.
        cache_bytes: limit of the caches, texts included. What was used longest ago is dropped first. An interaction
            takes about 3 KB at D = 256.
        products_per_chunk: products that are tokenised at once.
        tokens_per_batch: tokens that are read at once; None for what suits the runtime.

    Raises:
        NotFound: the library that would read the model is not installed.
        InvalidData: the weights or the graphs are damaged.
        Conflict: the graphs are those of another model.
        ValueError: no such device or runtime.
    """

    def __init__(
        self,
        model: ModelFolder | Checkpoint,
        *,
        device: str = "auto",
        runtime: str | None = None,
        cache_bytes: int = 256 << 20,
        products_per_chunk: int = 50_000,
        tokens_per_batch: int | None = None,
    ) -> None:
        self.device = device_name(device)
        self.config, self.tokenizer, self.model_id = model.config, model.tokenizer, model.model_id
        self.model_runtime = open_model_runtime(model, self.device)
        self._products = model.products
        self._product_runtime = self.model_runtime if model.product_tower is None else None
        self._runtime_name = None if runtime is None else RuntimeName(runtime)
        self._runtime: TextRuntime | None = None
        self._runtime_lock = Lock()
        self._products_per_chunk = products_per_chunk
        self._tokens_per_batch = tokens_per_batch or self.model_runtime.tokens_per_batch
        self._sequences = TokenSequences(self.tokenizer, cache_bytes // 2)
        self._vectors: SharedCache[bytes, FloatArray] = SharedCache(cache_bytes // 2)

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, device: str = "auto", runtime: str | None = None) -> Self:
        """An embedder over the model of a folder.

        Raises:
            NotFound, InvalidData, Conflict: as `ModelFolder.open`, or as of the class.
        """
        return cls(ModelFolder.open(folder), device=device, runtime=runtime)

    @property
    def runtime(self) -> RuntimeName | None:
        """What reads the texts of products; None before the first."""
        return None if self._runtime is None else self._runtime.name

    @property
    def dimension(self) -> int:
        """Width of the vectors, D."""
        return self.config.dimension

    @property
    def max_interactions(self) -> int:
        """Of a longer session, as many of the last interactions are read."""
        return self.config.max_interactions

    @property
    def cached_bytes(self) -> int:
        """What the caches hold, at most `cache_bytes`."""
        return self._sequences.size + self._vectors.size

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
        vector: FloatArray = self.embed_product_list([product])[0]
        return vector

    def embed_product_list(self, products: Sequence[Product]) -> FloatArray:
        """Vectors of at least one product: [M, D]. `embed_products` is for catalogues."""
        return self._embed_texts(TokenTable.from_rows([*map(self.tokenizer.product_text, products)]))

    def encode_texts(self, texts: TokenTable) -> FloatArray:
        """h' of at least one product's tokenised text, by the product tower in float32, not normalised: [N, D]."""
        rows = np.arange(len(texts))
        sequences = interaction_sequences(self.tokenizer, texts, np.full(rows.size, NO_ACTION), rows)
        vectors = np.empty((len(texts), self.dimension), np.float32)
        with self._runtime_lock:
            tower = self._float32_tower()
        for part in sequences.batches(tower.tokens_per_batch):
            interactions = tower.encode_interactions(sequences.take(part))
            vectors[part] = tower.encode_sessions(interactions, np.ones(part.size, np.int64))
        return vectors

    def embed_sessions(self, sessions: Sequence[Session]) -> FloatArray:
        """Unit vectors of sessions: [B, D]. The last `max_interactions` of each are read.

        A model without a token for removals from the cart reads a session as if the adds had not been.

        Raises:
            ValueError: a session has no interactions to read, or an interaction names a product by id: resolve it
                first.
        """
        return unit_rows(self.encode_sessions(sessions))

    def readable_session(self, session: Session) -> Session:
        """The session without interactions of whose text the model knows no word, such as Chinese for an English model.

        Adds that were taken back are gone, too, unless the model has a token for removals. The session may be empty.
        Of its last `MAX_INTERACTIONS` interactions, those before the ones that the model reads are left as they are.
        """
        limit, interactions = self.max_interactions, self.recent(session)
        kept: tuple[Interaction, ...] = ()
        end = len(interactions)
        while end and len(kept) < limit:
            begin = max(0, end - limit)
            part = interactions[begin:end]
            kept = (*compress(part, [sequence.has_words for sequence in self._sequences.read(part)]), *kept)
            end = begin
        return Session((*interactions[:end], *kept), session.session_id)

    def tokenise(self, interactions: Sequence[Interaction]) -> list[TokenSequence]:
        """What the model reads of each interaction, for callers that keep it for `embed_tokens`.

        Raises:
            ValueError: an interaction names a product by id: resolve it first.
        """
        return self._sequences.read(interactions)

    def embed_tokens(self, sessions: Sequence[Sequence[bytes]]) -> FloatArray:
        """Unit vectors of sessions whose interactions were tokenised: [B, D].

        Args:
            sessions: `TokenSequence.tokens` of at least one and at most `max_interactions` interactions each.
        """
        return unit_rows(self._encode([*chain.from_iterable(sessions)], np.array([*map(len, sessions)], np.int64)))

    def has_read(self, tokens: bytes) -> bool:
        """Whether the vector of an interaction with these tokens is cached."""
        return self._vectors.peek(tokens) is not None

    def has_read_interaction(self, interaction: Interaction) -> bool:
        """Whether the vector of an interaction with a search phrase, or a product in full, is cached."""
        sequence = self._sequences.peek(interaction)
        return sequence is not None and self.has_read(sequence.tokens)

    def encode_sessions(self, sessions: Sequence[Session]) -> FloatArray:
        """h' of sessions, not normalised: [B, D].

        Raises:
            ValueError: as `embed_sessions`.
        """
        limit = self.max_interactions
        recent = [self.recent(session)[-limit:] for session in sessions]
        if not all(recent):
            raise ValueError("a session without interactions has no vector")
        sequences = self._sequences.read([*chain.from_iterable(recent)])
        return self._encode([sequence.tokens for sequence in sequences], np.array([*map(len, recent)], np.int64))

    def encode_product_as_session(self, product: Product) -> FloatArray:
        """h' of a session of this product alone, without an action: [1, D]."""
        return self._encode([self._sequences.of_product(product)], np.ones(1, np.int64))

    def embed_table(self, texts: TokenTable, sessions: SessionTable) -> FloatArray:
        """Unit vectors of sessions over a token table: [B, D]. The last `max_interactions` of each are read."""
        return unit_rows(self.encode_table(texts, sessions))

    def encode_table(self, texts: TokenTable, sessions: SessionTable) -> FloatArray:
        """h' of sessions over a token table: [B, D]. The last `max_interactions` of each are read.

        It is 0 for a session without interactions.
        """
        if not self.tokenizer.reads_removals:
            sessions = sessions.take_back()
        filled = np.flatnonzero(sessions.lengths)
        if filled.size < len(sessions):
            vectors = np.zeros((len(sessions), self.dimension), np.float32)
            vectors[filled] = self.encode_table(texts, sessions.take(filled))
            return vectors
        last = sessions.last(self.max_interactions)
        sequences = interaction_sequences(self.tokenizer, texts, last.actions, last.rows)
        return self._encode([sequences.row(row).tobytes() for row in range(len(sequences))], last.lengths)

    def recent(self, session: Session) -> tuple[Interaction, ...]:
        """The last interactions of a session, without what this model does not read of the cart."""
        recent = session.interactions[-max(MAX_INTERACTIONS, self.max_interactions) :]
        return recent if self.tokenizer.reads_removals else take_back(recent)

    def _encode(self, sequences: Sequence[bytes], lengths: IntArray) -> FloatArray:
        """h' of sessions whose interactions are these token sequences, end to end: [B, D]."""
        if not len(lengths):
            return np.empty((0, self.dimension), np.float32)
        vectors = np.concatenate(self._vectors.get(sequences, self._read)).reshape(len(sequences), -1)
        return self.model_runtime.encode_sessions(vectors, lengths)

    def _read(self, sequences: list[bytes]) -> list[FloatArray]:
        """b' of distinct token sequences, the bytes of int32 ids: N times [D]."""
        table = TokenTable.from_rows([np.frombuffer(sequence, np.int32) for sequence in sequences])
        vectors: list[FloatArray] = []
        for part in table.batches(self._tokens_per_batch, by_length=False):
            # Rows are views, and one of them would keep the whole batch in memory.
            vectors.extend(row.copy() for row in self.model_runtime.encode_interactions(table.take(part)))
        return vectors

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
                self._runtime = self._choose(sequences)
            return self._runtime

    def _choose(self, sequences: TokenTable) -> TextRuntime:
        exact = self._float32_tower()
        if self._runtime_name is None:
            return exact
        return choose_runtime(self._runtime_name, self._products, exact, sequences, self.device)

    def _float32_tower(self) -> ModelRuntime:
        if self._product_runtime is None:
            self._product_runtime = open_model_runtime(self._products, self.device)
        return self._product_runtime


def _report(progress: Progress, first: int, size: int, total: int, done: int, of: int) -> None:
    """Report `done` of the `of` distinct texts of `size` products, as products; `first` products were done before."""
    progress("embedding products", first + done * size // of, total)
