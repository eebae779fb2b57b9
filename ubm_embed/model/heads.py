"""Task-specific layers on a session's vector (paper 3.4.1 and 3.4.2). Next item prediction needs none.

Letters: B sessions, D width.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from ubm_embed.data.tasks.examples import Task


class PurchaseIntentionHead(nn.Module):
    """Whether the session will come to a purchase: two feed-forward layers and a linear one (3.4.1).

    Training over-samples sessions with a purchase, so that both classes are as frequent; `purchase_share` brings what
    comes out back to the world's odds.
    """

    purchase_share: Tensor

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.layers = _feed_forward(dimension, 2)
        self.register_buffer("purchase_share", torch.tensor(0.5))

    def forward(self, sessions: Tensor) -> Tensor:
        """[B, D] -> the logit of a purchase where half of the sessions have one: [B]."""
        return cast(Tensor, self.layers(sessions)).squeeze(-1)

    def predict(self, sessions: Tensor) -> Tensor:
        """[B, D] -> the probability of a purchase, in a world with `purchase_share` of them: [B]."""
        share = float(self.purchase_share)
        return torch.sigmoid(self(sessions) + math.log(share / (1 - share)))

    @property
    def threshold(self) -> float:
        """A probability above it is a prediction of a purchase: where training saw equal odds."""
        return float(self.purchase_share)


class RemainingLengthHead(nn.Module):
    """How many interactions are still to come: two feed-forward layers (3.4.2).

    They predict in units of the training set's spread about its mean, so that a fresh head starts as the paper's FIXED.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.layers = _feed_forward(dimension, 1)
        self.register_buffer("mean", torch.tensor(0.0))
        self.register_buffer("spread", torch.tensor(1.0))

    def forward(self, sessions: Tensor) -> Tensor:
        """[B, D] -> (length - mean) / spread: [B]."""
        return cast(Tensor, self.layers(sessions)).squeeze(-1)

    def predict(self, sessions: Tensor) -> Tensor:
        """[B, D] -> interactions still to come, never below 0: [B]."""
        return cast(Tensor, self(sessions) * self.spread + self.mean).clamp(min=0)


Head = PurchaseIntentionHead | RemainingLengthHead


def head_of(task: Task, dimension: int) -> Head | None:
    """A fresh head for a task; none for next item prediction."""
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
