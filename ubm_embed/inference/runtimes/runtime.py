"""The interface of a text runtime: from token sequences of products to unit vectors.

Letters: N sequences, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.inference.runtimes.runtime_name import RuntimeName


class TextRuntime(Protocol):
    """Reads products without an action, each as a session of length 1 (paper 3.4.3). Several threads may call it.

    Attributes:
        name: its name.
        tokens_per_batch: the batch size, in tokens, at which it is fast.
    """

    @property
    def name(self) -> RuntimeName: ...
    @property
    def tokens_per_batch(self) -> int: ...

    def encode(self, sequences: TokenTable) -> FloatArray:
        """Unit vectors of sequences `[CLS] text [SEP]`: [N, D] float32."""
        ...


def encode_all(
    runtime: TextRuntime, sequences: TokenTable, report: Callable[[int, int], None] | None = None
) -> FloatArray:
    """Unit vectors of sequences of any length, read in batches: [N, D].

    Args:
        sequences: at least one.
        report: called after each batch with the number of sequences done, and N.
    """
    vectors, done = None, 0
    for part in sequences.batches(runtime.tokens_per_batch, by_length=False):
        encoded = runtime.encode(sequences.take(part))
        if vectors is None:
            vectors = np.empty((len(sequences), encoded.shape[1]), np.float32)
        vectors[part] = encoded
        done += part.size
        if report is not None:
            report(done, len(sequences))
    assert vectors is not None, "at least one sequence"
    return vectors
