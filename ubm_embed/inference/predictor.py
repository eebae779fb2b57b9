"""What a session will come to: a purchase (PIP), or so many interactions more (RLP).

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
from ubm_embed.model.heads import Head, PurchaseIntentionHead
from ubm_embed.model.user_behavior_model import CONFIG_FILE

_AT_ONCE = 512


class Predictor:
    """A model with a head, fine-tuned for purchase intention or remaining length. Use `of` or `from_pretrained`."""

    def __init__(self, embedder: Embedder, head: Head, task: Task) -> None:
        self.embedder, self.head, self.task = embedder, head, task

    @classmethod
    def of(cls, checkpoint: Checkpoint, *, device: str = "auto") -> Self:
        """Around an opened model.

        Raises:
            InvalidData: the model has no head.
        """
        config = checkpoint.model.config
        if checkpoint.model.head is None or config.task is None:
            problem = "the model has no head to predict with: fine-tune one with `ubm-embed finetune pip` or `rlp`"
            raise InvalidData(problem, file=checkpoint.folder and checkpoint.folder / CONFIG_FILE, field="task")
        embedder = Embedder(checkpoint, device=device)
        return cls(embedder, checkpoint.model.head, Task(config.task))

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, device: str = "auto") -> Self:
        """Over the model of a folder.

        Raises:
            NotFound: a file is missing.
            InvalidData: not a model, or one without a head.
        """
        return cls.of(Checkpoint.from_pretrained(folder), device=device)

    @property
    def threshold(self) -> float:
        """A probability above it counts as a purchase; of no meaning for lengths."""
        return self.head.threshold if isinstance(self.head, PurchaseIntentionHead) else 0.5

    def predict(self, sessions: Sequence[Session]) -> FloatArray:
        """The probability of a purchase, or interactions still to come: [B].

        Raises:
            ValueError: as `Embedder.embed_sessions`.
        """
        return self._predict(self.embedder.encode_sessions(sessions))

    def predict_product(self, product: Product) -> float:
        """Of a session that holds nothing but this product."""
        return float(self._predict(self.embedder.encode_product_as_session(product))[0])

    def predict_table(self, texts: TokenTable, sessions: SessionTable) -> FloatArray:
        """Of sessions over a token table: [B]."""
        starts = range(0, len(sessions), _AT_ONCE)
        parts = [np.arange(start, min(start + _AT_ONCE, len(sessions))) for start in starts]
        found = [self._predict(self.embedder.encode_table(texts, sessions.take(part))) for part in parts]
        return np.concatenate(found) if found else np.empty(0, np.float32)

    @torch.inference_mode()
    def _predict(self, vectors: Tensor) -> FloatArray:
        found: FloatArray = self.head.predict(vectors).cpu().numpy()
        return found
