"""Task-specific layers on a session's vector (paper 3.4.1 and 3.4.2). Next item prediction needs none.

Letters: B sessions, D width.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from ubm_embed.data.tasks.task import Task


class PurchaseIntentionHead(nn.Module):
    """The probability that a session ends in a purchase: two feed-forward layers and a linear one (3.4.1).

    Training over-samples sessions with a purchase until both classes are equally frequent. `purchase_share`, the
    fraction of sessions with a purchase, corrects the output to the real odds.
    """

    purchase_share: Tensor

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.layers = _feed_forward(dimension, 2)
        self.register_buffer("purchase_share", torch.tensor(0.5))

    def forward(self, sessions: Tensor) -> Tensor:
        """[B, D] -> the logit of a purchase if half of all sessions had one: [B]."""
        return cast(Tensor, self.layers(sessions)).squeeze(-1)

    def predict(self, sessions: Tensor) -> Tensor:
        """[B, D] -> the probability of a purchase at the real odds: [B]."""
        share = float(self.purchase_share)
        return torch.sigmoid(self(sessions) + math.log(share / (1 - share)))

    @property
    def threshold(self) -> float:
        """A probability above it predicts a purchase: the one that corresponds to equal odds in training."""
        return float(self.purchase_share)


class RemainingLengthHead(nn.Module):
    """The number of interactions still to come: two feed-forward layers (3.4.2).

    The output is standardised by the training set's mean and standard deviation, so that a fresh head starts as the
    paper's FIXED.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.layers = _feed_forward(dimension, 1)
        self.register_buffer("mean", torch.tensor(0.0))
        self.register_buffer("std", torch.tensor(1.0))

    def forward(self, sessions: Tensor) -> Tensor:
        """[B, D] -> (length - mean) / std: [B]."""
        return cast(Tensor, self.layers(sessions)).squeeze(-1)

    def predict(self, sessions: Tensor) -> Tensor:
        """[B, D] -> the number of interactions still to come, at least 0: [B]."""
        return cast(Tensor, self(sessions) * self.std + self.mean).clamp(min=0)


Head = PurchaseIntentionHead | RemainingLengthHead


def build_head(task: Task, dimension: int) -> Head | None:
    """A fresh head for a task; None for next item prediction, which needs no head."""
    match task:
        case Task.PIP:
            return PurchaseIntentionHead(dimension)
        case Task.RLP:
            return RemainingLengthHead(dimension)
        case Task.NIP:
            return None


def _feed_forward(dimension: int, layers: int) -> nn.Sequential:
    hidden = [part for _ in range(layers) for part in (nn.Linear(dimension, dimension), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(dimension, 1))
