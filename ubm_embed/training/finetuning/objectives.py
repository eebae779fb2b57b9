"""What fine-tuning for the next item minimises: a tower, and the loss of equation 7.

Letters: B examples of a batch, E examples, M products, C candidates, D width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.tasks.dataset import TaskDataset
from ubm_embed.data.tasks.examples import TargetSequences, TaskExamples
from ubm_embed.evaluation.ranking import hit_at_k
from ubm_embed.model.device import full_precision
from ubm_embed.model.tower import CausalTower, Tower
from ubm_embed.training.finetuning.sampled_softmax import NegativeSample, SampledSoftmax
from ubm_embed.training.finetuning.step_metrics import next_item_metrics

BATCH = 512
# To read more products would take longer than the steps between two evaluations.
MAX_VALIDATION_PRODUCTS = 50_000
_MAX_SCORES = 1 << 25


@dataclass(frozen=True)
class Validation:
    """How well the validation part was predicted.

    Attributes:
        key: the best weights have the lowest; where its first number is equal, the next one decides.
        metrics: by name.
    """

    key: tuple[float, ...]
    metrics: dict[str, float]


class Objective(Protocol):
    """An `nn.Module` that the fine-tuning loop trains.

    Attributes:
        step_metrics: what the last loss in training compared, for the log.
    """

    step_metrics: dict[str, float]

    def epoch(self, dataset: TaskDataset, rng: np.random.Generator) -> TaskExamples | TargetSequences:
        """The examples of an epoch, in order."""

    def loss(self, examples: Any, rng: np.random.Generator) -> Tensor:
        """The mean loss of a part of an epoch: a scalar."""

    def validate(self, examples: TaskExamples) -> Validation:
        """Predict the validation part."""

    def predict(self, prefixes: SessionTable) -> FloatArray:
        """The predictions for E prefixes, without gradients: [E, M] scores, or [E] numbers."""


def next_item_epoch(
    dataset: TaskDataset, rng: np.random.Generator, tower: Tower, *, all_positions: bool
) -> TaskExamples | TargetSequences:
    """The next item examples of an epoch: single prefixes, or sequences with a target at every position."""
    if not all_positions:
        return dataset.training(rng)
    return dataset.sequences(rng, limit=cast(CausalTower, tower).max_interactions)


class NextItem(nn.Module):
    """NIP: a softmax over the products (3.4.3, equation 7), all of them or a sample.

    A sample is corrected for how likely each product was to be in it (logQ), see `SampledSoftmax`.

    Args:
        products: M.
        popularity: [M] how often each product is the target of a training example.
        negatives: draws a step; None takes all products.
        repeats: whether a product that the session holds may be the target; else it is no candidate.
        all_positions: an epoch predicts at every position of a session, in one pass of a causal tower.
        by_hits: the best weights have the highest hit@10 on the validation part; else the lowest loss.
        batch: prefixes, and products, that are read at once without gradients.
        max_validation_products: validation ranks targets among at most this many products and the targets.
    """

    def __init__(
        self,
        tower: Tower,
        products: int,
        *,
        popularity: IntArray | None = None,
        negatives: int | None = None,
        repeats: bool = False,
        all_positions: bool = False,
        by_hits: bool = True,
        batch: int = BATCH,
        max_validation_products: int = MAX_VALIDATION_PRODUCTS,
    ) -> None:
        super().__init__()
        self.step_metrics: dict[str, float] = {}
        self.tower, self.products, self.repeats = tower, products, repeats
        self.all_positions, self.by_hits, self.batch = all_positions, by_hits, batch
        self.max_validation_products = max_validation_products
        self.sampler = None if negatives is None else SampledSoftmax(products, negatives, popularity)

    def epoch(self, dataset: TaskDataset, rng: np.random.Generator) -> TaskExamples | TargetSequences:
        """As `next_item_epoch`."""
        return next_item_epoch(dataset, rng, self.tower, all_positions=self.all_positions)

    def loss(self, examples: TaskExamples | TargetSequences, rng: np.random.Generator) -> Tensor:
        """Mean over the examples of -log softmax of the target."""
        sample = None if self.sampler is None else self.sampler.draw(examples, rng, training=self.training)
        candidates = np.arange(self.products) if sample is None else sample.candidates
        (sessions, prefixes), vectors = self._training_sessions(examples), self.tower.products(candidates)
        column = np.searchsorted(candidates, examples.targets)
        # One array that the product of the vectors is added to: each further pass over all scores costs as much.
        offsets = self._offsets(sample, column, candidates.size).to(sessions.device)
        self._leave_out_held(offsets, prefixes, candidates)
        scores = self._similarities(sessions, vectors, offsets)
        target = torch.from_numpy(column).to(scores.device)
        if self.training:
            self.step_metrics = next_item_metrics(sessions, vectors, scores, target)
            self.step_metrics["loss_chance"] = math.log(self.products)  # a sample's scores are corrected to all
        return cross_entropy(scores, target)

    @torch.no_grad()
    def validate(self, examples: TaskExamples) -> Validation:
        """The share of misses among all products, ties against the target, and the loss over all of them.

        In a catalogue of more than `max_validation_products`, among the targets and products drawn at random, the same
        ones each time.
        """
        candidates, ranks, losses = self._validation_products(examples.targets), [], []
        vectors = self._vectors_of(candidates)
        for part in parts(np.arange(len(examples)), max(1, min(self.batch, _MAX_SCORES // candidates.size))):
            some = examples.take(part)
            scores = self.scores(some.prefixes, candidates, vectors)
            targets = torch.from_numpy(np.searchsorted(candidates, some.targets)).to(scores.device)
            losses.append(cross_entropy(scores, targets, reduction="none").cpu())
            # Written as "not less", so that a score of NaN counts against the target too.
            ranks.append((~(scores < scores.gather(1, targets[:, None]))).sum(dim=1).cpu().numpy())
        hit = hit_at_k(np.concatenate(ranks), 10)
        loss = float(torch.cat(losses).mean())
        key = (1.0 - hit, loss) if self.by_hits else (loss,)
        return Validation(key, {"validation_hit_at_10": hit, "validation_loss": loss})

    @torch.no_grad()
    def predict(self, prefixes: SessionTable) -> FloatArray:
        """Scores of all products: [E, M]."""
        products, vectors = np.arange(self.products), self.product_vectors()
        batches = parts(np.arange(len(prefixes)), self.batch)
        scores = [self.scores(prefixes.take(part), products, vectors).cpu() for part in batches]
        return cast(FloatArray, torch.cat(scores).numpy())

    @torch.no_grad()
    def product_vectors(self) -> Tensor:
        """The vectors of all products: [M, D]."""
        return self._vectors_of(np.arange(self.products))

    def _vectors_of(self, rows: IntArray) -> Tensor:
        return torch.cat([self.tower.products(part) for part in parts(rows, self.batch)])

    def _validation_products(self, targets: IntArray) -> IntArray:
        """Rows of the products that targets are ranked among, ascending."""
        if self.products <= self.max_validation_products:
            return np.arange(self.products)
        drawn = np.random.default_rng(0).choice(self.products, self.max_validation_products, replace=False)
        return np.union1d(drawn, targets)

    def scores(self, prefixes: SessionTable, candidates: IntArray, vectors: Tensor) -> Tensor:
        """[B, C] scores of candidates, by ascending row; a product that the session holds scores -inf.

        Args:
            vectors: [C, D], the candidates'.
        """
        scores = self._similarities(self.tower.sessions(prefixes), vectors)
        self._leave_out_held(scores, prefixes, candidates)
        return scores

    def _training_sessions(self, examples: TaskExamples | TargetSequences) -> tuple[Tensor, SessionTable]:
        """The vectors of the examples' prefixes, and the prefixes."""
        if isinstance(examples, TaskExamples):
            return self.tower.sessions(examples.prefixes), examples.prefixes
        prefixes = cast(CausalTower, self.tower).prefixes(examples.sessions)
        return prefixes[torch.from_numpy(examples.positions).to(prefixes.device)], examples.examples.prefixes

    def _offsets(self, sample: NegativeSample | None, targets: IntArray, candidates: int) -> Tensor:
        """What is added to the scores of each example: [B, C].

        Args:
            targets: [B], the column of each target.
        """
        if sample is None:
            return torch.zeros(targets.size, candidates)
        offsets = sample.correction(targets.size)
        # The target itself is a candidate for certain, not by chance: it is not corrected.
        offsets[torch.arange(targets.size), torch.from_numpy(targets)] = 0.0
        return offsets

    def _leave_out_held(self, scores: Tensor, prefixes: SessionTable, candidates: IntArray) -> None:
        """Set the scores [B, C] of products that the sessions hold to -inf, in place, unless they may be targets."""
        if self.repeats:
            return
        columns = np.searchsorted(candidates, prefixes.rows)
        columns[columns == candidates.size] = 0
        held = np.flatnonzero(candidates[columns] == prefixes.rows)
        index = torch.from_numpy(prefixes.session_of()[held]), torch.from_numpy(columns[held])
        scores[tuple(one.to(scores.device) for one in index)] = float("-inf")

    def _similarities(self, sessions: Tensor, vectors: Tensor, offsets: Tensor | None = None) -> Tensor:
        """[B, D], [C, D] -> [B, C] cosines over the temperature, or inner products, plus the offsets."""
        sessions, vectors, temperature = sessions.float(), vectors.float(), self.tower.temperature
        with full_precision(sessions.device):
            if temperature is not None:
                sessions, vectors = normalize(sessions, dim=1) / temperature, normalize(vectors, dim=1)
            return sessions @ vectors.T if offsets is None else torch.addmm(offsets, sessions, vectors.T)


def parts(rows: IntArray, size: int) -> Iterator[IntArray]:
    """`size` rows at a time, the last time fewer."""
    for first in range(0, rows.size, size):
        yield rows[first : first + size]
