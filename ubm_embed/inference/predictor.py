"""What a session will come to: a purchase (PIP), or a number of further interactions (RLP).

Letters: B sessions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.session import Product, Session
from ubm_embed.data.tasks.task import Task
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.errors import InvalidData
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.config import CONFIG_FILE
from ubm_embed.model.folder import WEIGHTS_FILE, ModelFolder, require_task
from ubm_embed.model.stored_weights import map_weights

if TYPE_CHECKING:
    from ubm_embed.model.checkpoint import Checkpoint

_PURCHASE_SHARE = "head.purchase_share"


class Predictor:
    """A model with a head, fine-tuned for purchase intention or remaining length.

    Use `from_checkpoint` or `from_pretrained`.

    Args:
        threshold: a probability above it counts as a purchase; meaningless for lengths.
    """

    def __init__(self, embedder: Embedder, task: Task, threshold: float) -> None:
        self.embedder, self.task, self.threshold = embedder, task, threshold

    @classmethod
    def from_checkpoint(cls, model: ModelFolder | Checkpoint, *, device: str = "auto") -> Self:
        """A predictor over an opened model, which is left as it is (see `Embedder`).

        Raises:
            InvalidData: the model has no head.
        """
        task = model.config.task
        if task not in (Task.PIP, Task.RLP):
            problem = "the model has no head to predict with: fine-tune one with `ubm-embed finetune pip` or `rlp`"
            raise InvalidData(problem, file=model.path and model.path / CONFIG_FILE, field="task")
        return cls(Embedder(model, device=device), task, _purchase_share(model) if task is Task.PIP else 0.5)

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, task: Task | None = None, device: str = "auto") -> Self:
        """A predictor over the model of a folder.

        Args:
            task: for which it must have been fine-tuned; None for either of them.

        Raises:
            NotFound: a file is missing.
            InvalidData: not a model, one without a head, or one for another task.
        """
        model = ModelFolder.open(folder)
        if task is not None:
            require_task(model, task)
        return cls.from_checkpoint(model, device=device)

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

    def _predict(self, vectors: FloatArray) -> FloatArray:
        return self.embedder.model_runtime.predict(vectors) if len(vectors) else np.empty(0, np.float32)


def _purchase_share(model: ModelFolder | Checkpoint) -> float:
    """The fraction of sessions with a purchase, which is the threshold (see `PurchaseIntentionHead`)."""
    if not isinstance(model, ModelFolder):
        return float(model.model.state_dict()[_PURCHASE_SHARE])
    file = model.path / WEIGHTS_FILE
    share = map_weights(file).get(_PURCHASE_SHARE)
    if share is None:
        raise InvalidData(f"weights do not fit {CONFIG_FILE}: {_PURCHASE_SHARE} is missing", file=file)
    return float(share)
