"""What a session will come to: a purchase (PIP), or a number of further interactions (RLP).

Letters: B sessions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.session import Product, Session
from ubm_embed.data.tasks.task import Task
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.errors import InvalidData
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.config import CONFIG_FILE
from ubm_embed.model.heads import Head, PurchaseIntentionHead


class Predictor:
    """A model with a head, fine-tuned for purchase intention or remaining length.

    Use `from_checkpoint` or `from_pretrained`.
    """

    def __init__(self, embedder: Embedder, head: Head, task: Task) -> None:
        self.embedder, self.head, self.task = embedder, head, task

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, *, device: str = "auto") -> Self:
        """A predictor over an opened model, which is left as it is (see `Embedder`).

        Raises:
            InvalidData: the model has no head.
        """
        config = checkpoint.model.config
        if checkpoint.model.head is None or config.task is None:
            problem = "the model has no head to predict with: fine-tune one with `ubm-embed finetune pip` or `rlp`"
            raise InvalidData(problem, file=checkpoint.folder and checkpoint.folder / CONFIG_FILE, field="task")
        embedder = Embedder(checkpoint, device=device)
        assert embedder.model.head is not None, "a copy has the head of its original"
        return cls(embedder, embedder.model.head, Task(config.task))

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, device: str = "auto") -> Self:
        """A predictor over the model of a folder.

        Raises:
            NotFound: a file is missing.
            InvalidData: not a model, or one without a head.
        """
        return cls.from_checkpoint(Checkpoint.from_pretrained(folder), device=device)

    @property
    def threshold(self) -> float:
        """A probability above it counts as a purchase; meaningless for lengths."""
        return self.head.threshold if isinstance(self.head, PurchaseIntentionHead) else 0.5

    def predict(self, sessions: Sequence[Session]) -> FloatArray:
        """The probability of a purchase, or the number of interactions still to come: [B] float32.

        Raises:
            ValueError: as `Embedder.embed_sessions`.
        """
        return self._predict(self.embedder.encode_sessions(sessions))

    def predict_product(self, product: Product) -> float:
        """The prediction for a session of this product alone, without an action."""
        return float(self._predict(self.embedder.encode_product_as_session(product))[0])

    def predict_table(self, texts: TokenTable, sessions: SessionTable, *, batch: int = 512) -> FloatArray:
        """The predictions for sessions over a token table: [B] float32.

        Args:
            batch: sessions that are read at once.
        """
        starts = range(0, len(sessions), batch)
        parts = [np.arange(start, min(start + batch, len(sessions))) for start in starts]
        predictions = [self._predict(self.embedder.encode_table(texts, sessions.take(part))) for part in parts]
        return np.concatenate(predictions) if predictions else np.empty(0, np.float32)

    @torch.inference_mode()
    def _predict(self, vectors: Tensor) -> FloatArray:
        predictions: FloatArray = self.head.predict(vectors).cpu().numpy()
        return predictions
