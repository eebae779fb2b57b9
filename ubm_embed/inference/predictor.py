"""What a session will come to: a purchase (PIP), or a number of further interactions (RLP).

Letters: B sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from ubm_embed.data.arrays import FloatArray, offsets_of
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.removals import product_key
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.data.tasks.session_features import session_features
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
        """The probability of a purchase, or the mean number of interactions still to come: [B] float32.

        Raises:
            ValueError: as `Embedder.embed_sessions`.
        """
        vectors = self.embedder.encode_sessions(sessions)
        return _one_number(
            self._predict(vectors, lambda: session_features(session_table(map(self.embedder.recent, sessions))))
        )

    def predict_product(self, product: Product) -> float:
        """The prediction for a session of this product alone, without an action; it is counted as viewed."""
        viewed = (Interaction(Action.VIEW, product=product),)
        vectors = self.embedder.encode_product_as_session(product)
        return float(_one_number(self._predict(vectors, lambda: session_features(session_table([viewed]))))[0])

    def predict_table(self, texts: TokenTable, sessions: SessionTable, *, batch: int = 512) -> FloatArray:
        """The predictions for sessions over a token table: [B] float32.

        Args:
            batch: sessions that are read at once.
        """
        return _one_number(self.guesses(texts, sessions, batch=batch))

    def guesses(self, texts: TokenTable, sessions: SessionTable, *, batch: int = 512) -> FloatArray:
        """As `predict_table`, but of a distribution the three numbers that `length_metrics` takes: [B, 3]."""
        if not self.embedder.tokenizer.reads_removals:
            sessions = sessions.take_back()
        starts = range(0, len(sessions), batch)
        parts = [sessions.take(np.arange(start, min(start + batch, len(sessions)))) for start in starts]
        predictions = [
            self._predict(self.embedder.encode_table(texts, part), partial(session_features, part)) for part in parts
        ]
        return np.concatenate(predictions) if predictions else np.empty(0, np.float32)

    def _predict(self, vectors: FloatArray, count_features: Callable[[], FloatArray]) -> FloatArray:
        """[B] or [B, 3], from h', and from the features if the head reads them."""
        if not len(vectors):
            return np.empty(0, np.float32)
        number = self.embedder.config.head_features
        if number:
            vectors = np.concatenate([vectors, count_features()[:, :number]], axis=1)
        return self.embedder.model_runtime.predict(vectors)


def session_table(sessions: Iterable[Sequence[Interaction]]) -> SessionTable:
    """Sessions as a table in which the same product, by its id or else by all of it, has the same row."""
    listed = [*map(list, sessions)]
    rows: dict[object, int] = {}
    steps = [*chain.from_iterable(listed)]
    numbers = [rows.setdefault(step.query or product_key(step), len(rows)) for step in steps]
    actions = np.array([step.action.code for step in steps], np.uint8)
    return SessionTable(actions, np.array(numbers, np.int32), offsets_of(np.array([*map(len, listed)], np.int64)))


def _one_number(predictions: FloatArray) -> FloatArray:
    """[B] of [B], or of [B, 3] the mean, which is the first."""
    return predictions if predictions.ndim == 1 else predictions[:, 0]


def _purchase_share(model: ModelFolder | Checkpoint) -> float:
    """The fraction of sessions with a purchase, which is the threshold (see `PurchaseIntentionHead`)."""
    if not isinstance(model, ModelFolder):
        return float(model.model.state_dict()[_PURCHASE_SHARE])
    file = model.path / WEIGHTS_FILE
    share = map_weights(file).get(_PURCHASE_SHARE)
    if share is None:
        raise InvalidData(f"weights do not fit {CONFIG_FILE}: {_PURCHASE_SHARE} is missing", file=file)
    return float(share)
