"""The interface of what reads a model in float32: its encoders and its head, by PyTorch or by ONNX Runtime.

Letters: N token sequences, B sessions with I interactions in all, D width.
"""

from __future__ import annotations

from typing import Protocol

from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.inference.runtimes.runtime import TextRuntime


class ModelRuntime(TextRuntime, Protocol):
    """Reads one model, its product tower not included. Several threads may call it."""

    def encode_interactions(self, sequences: TokenTable) -> FloatArray:
        """b' of token sequences `[CLS] action text [SEP]`, in one batch (paper 3.1.2): [N, D] float32.

        The action may be missing. At least one sequence.
        """
        ...

    def encode_sessions(self, interactions: FloatArray, lengths: IntArray) -> FloatArray:
        """h', not normalised, of sessions that lie end to end (paper 3.1.3): [I, D] and [B] -> [B, D] float32.

        Args:
            lengths: interactions of each session, from 1 to the model's `max_interactions`; at least one session.
        """
        ...

    def predict(self, sessions: FloatArray) -> FloatArray:
        """The head's output (paper 3.4.1, 3.4.2), at the real odds or in interactions: [B, D + F] -> [B] float32.

        It reads h', and beside it F features if it has some. A distribution of lengths gives [B, 3], as
        `length_metrics` takes them.

        Raises:
            ValueError: the model has no head.
        """
        ...
