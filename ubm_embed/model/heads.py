"""Task-specific layers on a session's vector (paper 3.4.1 and 3.4.2). Next item prediction needs none.

The paper's heads read h'. With features, heads read what counting says about the session beside it (see
`session_features`), and that of remaining lengths predicts a distribution.

Letters: B sessions, D width, F features (0 without), T trees, K bins of lengths.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.data.tasks.task import Task
from ubm_embed.model.counting_logit import CountingLogit

# Of heads with features: they learn from some thousand sessions, and 64 hidden values are as good as 256 there.
_HIDDEN, _DROPOUT = 64, 0.3
# A tenth of a length is shared by all bins, so that none is impossible; more would lift the mean.
_UNSEEN = 0.1
# A feature that hardly varies in training would be far out in a session where it does.
_MIN_STD, MAX_STANDARDISED = 0.05, 5.0
# Of a bin, so that the median can be divided by it.
MIN_SHARE = 1e-9
# Where bins of lengths begin: one by one up to 10, then each a sixth further on, so that the last holds 1,000 and more.
LENGTH_EDGES: IntArray = np.unique(np.concatenate([np.arange(1, 11), 10 * (7 / 6) ** np.arange(31)]).astype(np.int64))


class Features(nn.Module):
    """h' with standardised features beside it: [B, D + F] -> [B, D + F].

    Attributes:
        mean, std: [F] of the features of training.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))

    def fit(self, features: FloatArray) -> None:
        """Take over mean and standard deviation of [N, F]."""
        self.mean.copy_(torch.from_numpy(features.mean(axis=0)))
        self.std.copy_(torch.from_numpy(features.std(axis=0).clip(min=_MIN_STD)))

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, D + F] -> [B, D + F]."""
        count = self.mean.numel()
        vectors, features = inputs[:, :-count], inputs[:, -count:]
        standardised = ((features - self.mean) / self.std).clamp(-MAX_STANDARDISED, MAX_STANDARDISED)
        return torch.cat([vectors, standardised], dim=1)


class PurchaseIntentionHead(nn.Module):
    """The probability that a session ends in a purchase: two feed-forward layers and a linear one (3.4.1).

    The paper over-samples sessions with a purchase until both classes are equally frequent. `purchase_share`, the
    fraction of sessions with a purchase, corrects the output to the real odds.

    With trees, the layers learn what is left to say once counts have spoken (boosting, Friedman 2001): a fresh head
    predicts what counting predicts.

    Args:
        features: F, read beside h'.
        trees: T of the counting that the head starts from; 0 for none.
    """

    purchase_share: Tensor

    def __init__(self, dimension: int, features: int = 0, trees: int = 0) -> None:
        super().__init__()
        self.features = Features(features) if features else None
        self.counting = CountingLogit(features, trees) if trees else None
        self.layers = _wide(dimension + features, 1) if features else _feed_forward(dimension, 2)
        self.register_buffer("purchase_share", torch.tensor(0.5))

    def forward(self, sessions: Tensor, counted: Tensor | None = None) -> Tensor:
        """[B, D + F] -> the logit of a purchase if half of all sessions had one: [B].

        Args:
            counted: [B] to take in place of what `counting` says, as in training by counts of other sessions.
        """
        logits = _run(self.features, self.layers, sessions).squeeze(-1)
        if self.counting is None:
            return logits
        if counted is None:
            counted = self.counting(sessions[:, -self.counting.weights.numel() :])
        return logits + counted

    def real_logits(self, sessions: Tensor, counted: Tensor | None = None) -> Tensor:
        """[B, D + F] -> the logit of a purchase at the real odds: [B]; `counted` as in `forward`."""
        share = float(self.purchase_share)
        return cast(Tensor, self(sessions, counted) + math.log(share / (1 - share)))

    def predict(self, sessions: Tensor) -> Tensor:
        """[B, D + F] -> the probability of a purchase at the real odds: [B]."""
        return torch.sigmoid(self.real_logits(sessions))

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
    features = None

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


class LengthDistributionHead(nn.Module):
    """How likely each remaining length is, in bins (a histogram loss; Imani and White 2018).

    A squared error is ruled by the few long sessions, and one number cannot be the best guess for every error. A fresh
    head predicts the lengths of training for everybody.

    Attributes:
        bin_means: [K] mean length in each bin.
        bin_logs: [K] mean of log(1 + length) in each bin.
        prior: [K] logarithm of how many of the lengths are in each bin.
        variance: of the lengths.
    """

    bin_means: Tensor
    bin_logs: Tensor
    prior: Tensor
    variance: Tensor

    def __init__(self, dimension: int, features: int) -> None:
        super().__init__()
        self.features = Features(features)
        self.layers = _wide(dimension + features, LENGTH_EDGES.size)
        edges = torch.from_numpy(LENGTH_EDGES).float()
        self.register_buffer("bin_means", edges)
        self.register_buffer("bin_logs", torch.log1p(edges))
        self.register_buffer("prior", torch.zeros(LENGTH_EDGES.size))
        self.register_buffer("variance", torch.tensor(1.0))

    def fit(self, lengths: IntArray) -> None:
        """Take over what is in each bin of the lengths [N] of training."""
        self.variance.fill_(float(lengths.var()) or 1.0)
        bins, size = bins_of(lengths), LENGTH_EDGES.size
        counts = np.bincount(bins, minlength=size)
        for buffer, values in ((self.bin_means, lengths), (self.bin_logs, np.log1p(lengths))):
            means = np.bincount(bins, values, minlength=size) / np.maximum(counts, 1)
            buffer.copy_(torch.where(torch.from_numpy(counts > 0), torch.from_numpy(means), buffer))
        self.prior.copy_(torch.from_numpy(np.log((counts + _UNSEEN / size) / (counts.sum() + _UNSEEN))))

    def forward(self, sessions: Tensor) -> Tensor:
        """[B, D + F] -> the logit of each bin: [B, K]."""
        return _run(self.features, self.layers, sessions) + self.prior

    def predict(self, sessions: Tensor) -> Tensor:
        """[B, D + F] -> the mean, the median and the mean by logarithms, as `length_metrics` takes them: [B, 3]."""
        shares = torch.softmax(self(sessions), dim=1)
        logs = torch.expm1(shares @ self.bin_logs)
        return torch.stack([shares @ self.bin_means, _medians(shares), logs], dim=1)


Head = PurchaseIntentionHead | RemainingLengthHead | LengthDistributionHead


def build_head(task: Task, dimension: int, features: int = 0, trees: int = 0) -> Head | None:
    """A fresh head for a task; None for next item prediction, which needs no head.

    Args:
        features: F; without any it is the paper's head.
        trees: T, of purchase intention; of heads that read features.
    """
    match task:
        case Task.PIP:
            return PurchaseIntentionHead(dimension, features, trees)
        case Task.RLP:
            return LengthDistributionHead(dimension, features) if features else RemainingLengthHead(dimension)
        case Task.NIP:
            return None


def linear_layers(head: Head) -> list[tuple[FloatArray, FloatArray]]:
    """The weights [in, out] and the biases [out] of each layer of a head, with a ReLU between any two."""
    layers = [layer for layer in head.layers if isinstance(layer, nn.Linear)]
    return [(layer.weight.T.detach().cpu().numpy(), layer.bias.detach().cpu().numpy()) for layer in layers]


def bins_of(lengths: IntArray) -> IntArray:
    """Which bin each length is in: [N], of lengths of 1 or more."""
    bins: IntArray = np.searchsorted(LENGTH_EDGES, lengths, side="right") - 1
    return bins


def bin_widths() -> FloatArray:
    """[K] how many lengths each bin has; the last, which has no end, as many as the one before it."""
    widths = np.diff(LENGTH_EDGES)
    return np.append(widths, widths[-1]).astype(np.float32)


def _medians(shares: Tensor) -> Tensor:
    """[B, K] -> [B]: the length that half are below, where those of a bin lie evenly around its whole numbers."""
    below = shares.cumsum(dim=1) - shares
    passed = ((0.5 - below) / shares.clamp(min=MIN_SHARE)).clamp(0, 1)
    return passed @ torch.from_numpy(bin_widths()).to(shares.device) + 0.5


def _run(features: Features | None, layers: nn.Sequential, inputs: Tensor) -> Tensor:
    return cast(Tensor, layers(inputs if features is None else features(inputs)))


def _feed_forward(dimension: int, layers: int) -> nn.Sequential:
    hidden = [part for _ in range(layers) for part in (nn.Linear(dimension, dimension), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(dimension, 1))


def _wide(inputs: int, outputs: int) -> nn.Sequential:
    """Two hidden layers with dropout, and an output that is 0 at first."""
    last = nn.Linear(_HIDDEN, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    sizes = ((inputs, _HIDDEN), (_HIDDEN, _HIDDEN))
    hidden = [part for size in sizes for part in (nn.Linear(*size), nn.ReLU(), nn.Dropout(_DROPOUT))]
    return nn.Sequential(*hidden, last)
