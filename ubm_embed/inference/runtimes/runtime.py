"""What an engine is: a product model's token sequences to unit vectors, by whatever computes that fast here.

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
    """Reads products alone, without an action, each as a session of length 1 (paper 3.4.3).

    Attributes:
        name: which one it is.
        tokens_at_once: how many tokens a call does well with.
        by_length: whether it wants sequences of like length in a call, so that little is padded.
    """

    @property
    def name(self) -> RuntimeName: ...
    @property
    def tokens_at_once(self) -> int: ...
    @property
    def by_length(self) -> bool: ...

    def encode(self, sequences: TokenTable) -> FloatArray:
        """Unit vectors of sequences `[CLS] text [SEP]`: [N, D]."""
        ...


def encode_all(
    engine: TextRuntime, sequences: TokenTable, report: Callable[[int, int], None] | None = None
) -> FloatArray:
    """Unit vectors of sequences of any length, read batch by batch: [N, D].

    Args:
        sequences: at least one.
        report: told how many of the N are done after each batch, and N.
    """
    vectors, done = None, 0
    for part in sequences.batches(engine.tokens_at_once, by_length=engine.by_length):
        encoded = engine.encode(sequences.take(part))
        if vectors is None:
            vectors = np.empty((len(sequences), encoded.shape[1]), np.float32)
        vectors[part] = encoded
        done += part.size
        if report is not None:
            report(done, len(sequences))
    assert vectors is not None, "at least one sequence"
    return vectors
