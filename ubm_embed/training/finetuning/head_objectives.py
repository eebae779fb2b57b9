"""What fine-tuning a head minimises: a tower, its head, and the loss of equation 5 or 6.

Letters: B examples of a batch, E examples, D width, F features that the head reads beside a session's vector.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.tasks.dataset import TaskDataset
from ubm_embed.data.tasks.examples import TargetSequences, TaskExamples
from ubm_embed.data.tasks.session_features import FEATURES, prefix_features, session_features
from ubm_embed.model.counting_logit import CountingLogit
from ubm_embed.model.device import full_precision
from ubm_embed.model.heads import Head, LengthDistributionHead, PurchaseIntentionHead, RemainingLengthHead, bins_of
from ubm_embed.model.tower import CausalTower, Tower
from ubm_embed.training.finetuning.counting import fit_counting, folds_of
from ubm_embed.training.finetuning.objectives import BATCH, Validation, parts
from ubm_embed.training.finetuning.step_metrics import session_metrics


class HeadObjective(nn.Module, ABC):
    """A tower and a head over its sessions; the best weights have the lowest loss.

    Args:
        all_positions: an epoch asks at every position of a session, in one pass of a causal tower; all of a session
            together weigh as much as the one prefix that is drawn without.
        batch: prefixes that are read at once without gradients.
    """

    def __init__(self, tower: Tower, head: Head, *, all_positions: bool = False, batch: int = BATCH) -> None:
        super().__init__()
        self.step_metrics: dict[str, float] = {}
        self.tower, self.head, self.all_positions, self.batch = tower, head, all_positions, batch

    def epoch(self, dataset: TaskDataset, rng: np.random.Generator) -> TaskExamples | TargetSequences:
        """The examples of an epoch, in random order."""
        if not self.all_positions:
            return dataset.training(rng)
        return dataset.sequences(rng, limit=cast(CausalTower, self.tower).max_interactions)

    def loss(self, examples: TaskExamples | TargetSequences, rng: np.random.Generator) -> Tensor:
        """Mean over examples; each session of `TargetSequences` weighs the same."""
        sessions = self._read(examples)
        if self.training:
            self.step_metrics = session_metrics(sessions) | {"loss_chance": self.chance}
        with full_precision(sessions.device):
            losses = self._losses(sessions.float(), examples)
        if isinstance(examples, TaskExamples):
            return losses.mean()
        return losses @ _weights(examples).to(losses.device)

    @property
    @abstractmethod
    def chance(self) -> float:
        """The loss of a head that knows nothing of the session."""

    @abstractmethod
    def _losses(self, sessions: Tensor, examples: TaskExamples | TargetSequences) -> Tensor:
        """The loss of each example, from what the head reads: [B, D + F] -> [B]."""

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
        """The head's predictions: [E], or [E, 3] of a distribution of lengths."""
        batches = parts(np.arange(len(prefixes)), self.batch)
        numbers = [self.head.predict(self._whole(prefixes.take(part)).float()).cpu() for part in batches]
        return cast(FloatArray, torch.cat(numbers).numpy())

    def _read(self, examples: TaskExamples | TargetSequences) -> Tensor:
        """What the head reads of each example: [B, D + F]."""
        if isinstance(examples, TaskExamples):
            return self._whole(examples.prefixes)
        tower, sessions = cast(CausalTower, self.tower), examples.sessions
        windows = sessions.last(tower.max_interactions)
        shifts = windows.offsets[1:] - sessions.offsets[1:]
        slots = examples.positions + shifts[sessions.session_of()[examples.positions]]
        vectors = tower.prefixes(windows)
        vectors = vectors[torch.from_numpy(slots).to(vectors.device)]
        return self._with(vectors, prefix_features(sessions)[examples.positions]) if self.head.features else vectors

    def _whole(self, prefixes: SessionTable) -> Tensor:
        vectors = self.tower.sessions(prefixes)
        return self._with(vectors, session_features(prefixes)) if self.head.features else vectors

    def _with(self, vectors: Tensor, features: FloatArray) -> Tensor:
        return torch.cat([vectors.float(), torch.from_numpy(features).to(vectors.device)], dim=1)


class PurchaseIntention(HeadObjective):
    """PIP: binary cross entropy (3.4.1, equation 5, with its sign corrected); it predicts probabilities.

    Single prefixes are those of which half come to a purchase; at all positions, classes are as frequent as in the log.

    Args:
        folds: what counting says of the sessions of each fold in training; none for the head's own.
        fold_length: of the beginning that tells the fold of a session.
    """

    head: PurchaseIntentionHead

    def __init__(
        self,
        tower: Tower,
        head: PurchaseIntentionHead,
        *,
        all_positions: bool = False,
        batch: int = BATCH,
        folds: Sequence[CountingLogit] = (),
        fold_length: int = 0,
    ) -> None:
        super().__init__(tower, head, all_positions=all_positions, batch=batch)
        self.folds, self.fold_length = nn.ModuleList(folds), fold_length

    @property
    def chance(self) -> float:
        """Of one half, or of the share of purchases, for everybody."""
        share = self.head.threshold if self.all_positions else 0.5
        return -(share * math.log(share) + (1 - share) * math.log(1 - share))

    def _losses(self, sessions: Tensor, examples: TaskExamples | TargetSequences) -> Tensor:
        balanced = isinstance(examples, TaskExamples)
        counted = self._counted_by_others(sessions, examples) if self.training and len(self.folds) else None
        logits = (self.head if balanced else self.head.real_logits)(sessions, counted)
        return binary_cross_entropy_with_logits(logits, _floats(examples.targets).to(logits.device), reduction="none")

    def _counted_by_others(self, sessions: Tensor, examples: TaskExamples | TargetSequences) -> Tensor:
        """[B] what counting of the sessions outside of each example's fold says."""
        if isinstance(examples, TaskExamples):
            folds = folds_of(examples.prefixes, self.fold_length)
        else:
            owners = examples.sessions.session_of()[examples.positions]
            folds = folds_of(examples.sessions, self.fold_length)[owners]
        features = sessions[:, -len(FEATURES) :]
        counted = features.new_zeros(len(features))
        for fold, counting in enumerate(self.folds):
            rows = torch.from_numpy(np.flatnonzero(folds == fold)).to(features.device)
            counted[rows] = counting(features[rows])
        return counted


class RemainingLength(HeadObjective):
    """RLP: mean squared error (3.4.2, equation 6) of standardised lengths; it predicts interactions."""

    head: RemainingLengthHead
    chance = 1.0  # of the mean for everybody: the variance of standardised lengths

    def _losses(self, sessions: Tensor, examples: TaskExamples | TargetSequences) -> Tensor:
        predictions = self.head(sessions)
        lengths = _floats(examples.targets).to(predictions.device)
        return mse_loss(predictions, (lengths - self.head.mean) / self.head.std, reduction="none")


class LengthDistribution(HeadObjective):
    """RLP: cross entropy of the bin of the length, and the squared error of the mean; it predicts a distribution.

    The cross entropy alone does not care which of the other bins are likely, and the mean of its distribution explains
    far less of the few long sessions. Squared errors are in units of the variance, as in `RemainingLength`.
    """

    head: LengthDistributionHead

    @property
    def chance(self) -> float:
        """Of how often training has each bin, for everybody."""
        prior = torch.log_softmax(self.head.prior, dim=0)
        return 1.0 - float(prior.exp() @ prior)

    def _losses(self, sessions: Tensor, examples: TaskExamples | TargetSequences) -> Tensor:
        logits = self.head(sessions)
        bins = torch.from_numpy(bins_of(examples.targets)).to(logits.device)
        mean = torch.softmax(logits, dim=1) @ self.head.bin_means
        squares = (mean - _floats(examples.targets).to(mean.device)).square() / self.head.variance
        return cross_entropy(logits, bins, reduction="none") + squares


def head_objective(
    tower: Tower, head: Head, dataset: TaskDataset, rng: np.random.Generator, *, all_positions: bool = False
) -> HeadObjective:
    """The objective of a head; sets its statistics of the training part."""
    examples = dataset.unbalanced_training(rng)
    if head.features is not None:
        head.features.fit(session_features(examples.prefixes))
    if isinstance(head, PurchaseIntentionHead):
        head.purchase_share.fill_(float(examples.targets.mean()))
        folds: list[CountingLogit] = []
        if head.counting is not None and (fitted := fit_counting(dataset, rng)) is not None:
            head.counting.load_state_dict(fitted[0].state_dict())
            folds = [counting.to(head.purchase_share.device) for counting in fitted[1]]
        return PurchaseIntention(
            tower, head, all_positions=all_positions, folds=folds, fold_length=dataset.min_interactions
        )
    if isinstance(head, LengthDistributionHead):
        head.fit(examples.targets)
        return LengthDistribution(tower, head, all_positions=all_positions)
    lengths = examples.targets.astype(np.float64)
    head.mean.fill_(lengths.mean())
    head.std.fill_(lengths.std() or 1.0)
    return RemainingLength(tower, head, all_positions=all_positions)


def _weights(sequences: TargetSequences) -> Tensor:
    """[B] one over the number of examples of each one's session, and over the number of sessions."""
    session_of = sequences.sessions.session_of()[sequences.positions]
    counts = np.bincount(session_of, minlength=len(sequences))
    return _floats(1 / (counts[session_of] * len(sequences)))


def _floats(targets: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(targets.astype(np.float32))
