"""A model that is read through its ONNX graphs, whichever library runs them.

Letters: N token sequences, B sessions with I interactions in all, S interaction slots, D width.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ubm_embed.data.arrays import FloatArray, IntArray, offsets_of, ragged_index, unit_rows
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.file_guard import FileGuard
from ubm_embed.inference.runtimes.item_vectors import ItemVectors
from ubm_embed.inference.runtimes.padding import padded_sessions, padded_tokens, parts_by_length
from ubm_embed.inference.runtimes.runtime_name import RuntimeName

# Every step of a graph goes through memory: 4,096 tokens do not fit the cache, and take a third longer each.
_SLOTS_PER_RUN = 1_024
# Less than this is not worth a second thread.
_MIN_SLOTS_PER_RUN = 256


class Graph(Protocol):
    """A graph with one output. Several threads may run it."""

    def run(self, inputs: dict[str, NDArray[Any]]) -> FloatArray:
        """The output for inputs by name."""
        ...


class GraphModel:
    """A `ModelRuntime` and a `TextRuntime` over graphs.

    Large inputs are cut into parts of similar length, which bounds padding and memory.

    Args:
        interactions: ids, mask [N, L], and item_vectors [N, D] for a model with item embeddings -> [N, D].
        sessions: interactions [B, S, D], mask [B, S] -> [B, D].
        open_head: opens the graph sessions [B, D + F] -> [B] or [B, 3]; None for a model without a head.
        item_vectors: the model's item embeddings, if it has some.
        watch: files that stay mapped: when one is cut short, reading raises `InvalidData`.
        threads: how many parts are run at once.
    """

    def __init__(
        self,
        name: RuntimeName,
        interactions: Graph,
        sessions: Graph,
        *,
        open_head: Callable[[], Graph] | None = None,
        item_vectors: ItemVectors | None = None,
        watch: Sequence[Path] = (),
        threads: int = 1,
    ) -> None:
        self.name = name
        self.tokens_per_batch = 16 * threads * _SLOTS_PER_RUN
        self._interactions, self._sessions, self._item_vectors = interactions, sessions, item_vectors
        self._open_head = open_head
        self._head: Graph | None = None
        self._head_lock = threading.Lock()
        self._threads = threads
        mapped = [] if item_vectors is None or item_vectors.file is None else [item_vectors.file]
        self._guard = FileGuard([*watch, *mapped])

    def encode_interactions(self, sequences: TokenTable) -> FloatArray:
        """As `ModelRuntime.encode_interactions`: [N, D]."""
        self._guard.require_unchanged()
        return self._in_parts(sequences.lengths, lambda part: self._read_tokens(sequences.take(part)))

    def encode_sessions(self, interactions: FloatArray, lengths: IntArray) -> FloatArray:
        """As `ModelRuntime.encode_sessions`: [B, D]."""
        self._guard.require_unchanged()
        if len(lengths) == 1:  # a live request, which must not wait for what a batch needs
            mask = np.ones((1, len(interactions)), np.int64)
            return self._sessions.run({"interactions": interactions[None], "mask": mask})
        starts = offsets_of(lengths)[:-1]

        def read(part: IntArray) -> FloatArray:
            return self._read_sessions(interactions[ragged_index(starts[part], lengths[part])], lengths[part])

        return self._in_parts(lengths, read)

    def encode(self, sequences: TokenTable) -> FloatArray:
        """As `TextRuntime.encode`: [N, D]."""
        self._guard.require_unchanged()

        def read(part: IntArray) -> FloatArray:
            return self._read_sessions(self._read_tokens(sequences.take(part)), np.ones_like(part))

        return unit_rows(self._in_parts(sequences.lengths, read))

    def predict(self, sessions: FloatArray) -> FloatArray:
        """As `ModelRuntime.predict`: [B], or [B, 3]."""
        if self._open_head is None:
            raise ValueError("the model has no head")
        with self._head_lock:
            self._head = self._head or self._open_head()
        return self._head.run({"sessions": sessions})

    def _read_tokens(self, sequences: TokenTable) -> FloatArray:
        ids, mask = padded_tokens(sequences)
        inputs: dict[str, NDArray[Any]] = {"ids": ids, "mask": mask}
        if self._item_vectors is not None:
            inputs["item_vectors"] = self._item_vectors.find(sequences)
        return self._interactions.run(inputs)

    def _read_sessions(self, interactions: FloatArray, lengths: IntArray) -> FloatArray:
        dense, mask = padded_sessions(interactions, lengths)
        return self._sessions.run({"interactions": dense, "mask": mask})

    def _in_parts(self, lengths: IntArray, read: Callable[[IntArray], FloatArray]) -> FloatArray:
        """What `read` returns for parts of the sequences of these lengths, together in their order: [N, D]."""
        share = max(_MIN_SLOTS_PER_RUN, int(lengths.sum()) // self._threads)
        parts = parts_by_length(lengths, min(_SLOTS_PER_RUN, share))
        if len(parts) == 1 or self._threads == 1:
            results = list(map(read, parts))
        else:
            with ThreadPoolExecutor(self._threads) as pool:
                results = list(pool.map(read, parts))
        vectors = np.empty((len(lengths), results[0].shape[1]), np.float32)
        for part, result in zip(parts, results, strict=True):
            vectors[part] = result
        return vectors
