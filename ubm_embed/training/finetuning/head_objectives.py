"""What fine-tuning a head minimises: a tower, its head, and the loss of equation 5 or 6.

Letters: B examples of a batch, E examples, D width.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.tasks.dataset import TaskDataset
from ubm_embed.data.tasks.examples import TaskExamples
from ubm_embed.model.device import full_precision
from ubm_embed.model.heads import PurchaseIntentionHead, RemainingLengthHead
from ubm_embed.model.tower import Tower
from ubm_embed.training.finetuning.objectives import BATCH, Validation, parts
from ubm_embed.training.finetuning.step_metrics import session_metrics


class HeadObjective(nn.Module, ABC):
    """A tower and a head over its sessions; the best weights have the lowest loss.

    Args:
        batch: prefixes that are read at once without gradients.

    Attributes:
        chance: the loss of a head that knows nothing of the session.
    """

    chance: float

    def __init__(self, tower: Tower, head: PurchaseIntentionHead | RemainingLengthHead, *, batch: int = BATCH) -> None:
        super().__init__()
        self.step_metrics: dict[str, float] = {}
        self.tower, self.head, self.batch = tower, head, batch

    def epoch(self, dataset: TaskDataset, rng: np.random.Generator) -> TaskExamples:
        """The examples of an epoch, in random order."""
        return dataset.training(rng)

    @abstractmethod
    def loss(self, examples: TaskExamples, rng: np.random.Generator) -> Tensor:
        """Mean over examples."""

    def _sessions(self, examples: TaskExamples) -> Tensor:
        sessions = self.tower.sessions(examples.prefixes)
        if self.training:
            self.step_metrics = session_metrics(sessions) | {"loss_chance": self.chance}
        return sessions

    @torch.no_grad()
    def validate(self, examples: TaskExamples) -> Validation:
        """The mean loss."""
        rng = np.random.default_rng(0)  # nothing is drawn
        batches = list(parts(np.arange(len(examples)), self.batch))
        losses = [self.loss(examples.take(part), rng).item() * part.size for part in batches]
        loss = sum(losses) / len(examples)
        return Validation((loss,), {"validation_loss": loss})

    @torch.no_grad()
    def predict(self, prefixes: SessionTable) -> FloatArray:
        """The head's predictions: [E]."""
        batches = parts(np.arange(len(prefixes)), self.batch)
        numbers = [self.head.predict(self.tower.sessions(prefixes.take(part)).float()).cpu() for part in batches]
        return cast(FloatArray, torch.cat(numbers).numpy())


class PurchaseIntention(HeadObjective):
    """PIP: binary cross entropy (3.4.1, equation 5, with its sign corrected); it predicts probabilities."""

    chance = math.log(2)  # of one half for everybody

    def loss(self, examples: TaskExamples, rng: np.random.Generator) -> Tensor:
        """Mean over examples of which half come to a purchase."""
        sessions = self._sessions(examples)
        with full_precision(sessions.device):
            logits = self.head(sessions.float())
            return binary_cross_entropy_with_logits(logits, _floats(examples.targets).to(logits.device))


class RemainingLength(HeadObjective):
    """RLP: mean squared error (3.4.2, equation 6) of standardised lengths; it predicts interactions."""

    head: RemainingLengthHead
    chance = 1.0  # of the mean for everybody: the variance of standardised lengths

    def loss(self, examples: TaskExamples, rng: np.random.Generator) -> Tensor:
        """Mean over examples."""
        sessions = self._sessions(examples)
        with full_precision(sessions.device):
            predictions = self.head(sessions.float())
            lengths = _floats(examples.targets).to(predictions.device)
            return mse_loss(predictions, (lengths - self.head.mean) / self.head.std)


def _floats(targets: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(targets.astype(np.float32))
