"""What fine-tuning minimises, one module a task: a tower, its head, and the loss of equations 5 to 7.

Letters: B examples, E examples, M products, C candidates, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss, normalize

from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.data.batches.session_table import SessionTable
from ubm_embed.data.tasks.examples import Examples, Walks
from ubm_embed.data.tasks.questions import Questions
from ubm_embed.evaluation.ranking import hit_at_k
from ubm_embed.model.heads import PurchaseIntentionHead, RemainingLengthHead
from ubm_embed.model.precision import full_precision
from ubm_embed.model.tower import CausalTower, Tower
from ubm_embed.training.finetuning.sampled_softmax import Sample

_AT_ONCE = 512
_SCORES_AT_ONCE = 1 << 25
# To read more products would take longer than the steps between two looks.
MOST_LOOKED_AT = 50_000


@dataclass(frozen=True)
class Look:
    """How well a validation part was answered.

    Attributes:
        cost: what the best weights have least of; where that is equal, of the next.
        shown: by name.
    """

    cost: tuple[float, ...]
    shown: dict[str, float]


class Objective(Protocol):
    """A `nn.Module` that the fine-tuning loop trains."""

    def epoch(self, questions: Questions, rng: np.random.Generator) -> Examples | Walks:
        """What an epoch reads, in its order."""

    def loss(self, examples: Any, rng: np.random.Generator) -> Tensor:
        """The mean loss of a part of an epoch: a scalar."""

    def look(self, examples: Examples) -> Look:
        """Ask a validation part."""

    def answers(self, prefixes: SessionTable) -> FloatArray:
        """What it answers to E prefixes, without gradients; [E, M] scores, or [E] numbers."""


class NextItem(nn.Module):
    """NIP: a softmax over the products (3.4.3, equation 7), all of them or a sample.

    A sample is corrected for how likely each product was to be in it (logQ), see `Sample`.

    Args:
        products: M.
        popularity: [M] how often each product is an answer.
        negatives: draws a step; None takes all products.
        repeats: whether a product that the session holds may be the answer; else it is no candidate.
        every_place: an epoch asks a session at every place, in one pass of a tower that is causal.
        by_hits: the best weights have the highest hit@10 of a validation part; else the least loss.
    """

    def __init__(
        self,
        tower: Tower,
        products: int,
        *,
        popularity: IntArray | None = None,
        negatives: int | None = None,
        repeats: bool = False,
        every_place: bool = False,
        by_hits: bool = True,
    ) -> None:
        super().__init__()
        self.tower, self.products, self.repeats = tower, products, repeats
        self.every_place, self.by_hits = every_place, by_hits
        self.sample = None if negatives is None else Sample(products, negatives, popularity)

    def epoch(self, questions: Questions, rng: np.random.Generator) -> Examples | Walks:
        """Sessions to be asked at every place, or questions one by one."""
        if not self.every_place:
            return questions.training(rng)
        return questions.walks(rng, limit=cast(CausalTower, self.tower).max_interactions)

    def loss(self, examples: Examples | Walks, rng: np.random.Generator) -> Tensor:
        """Mean over the questions of -log softmax of the answer."""
        draw = None if self.sample is None else self.sample.draw(examples, rng, training=self.training)
        candidates = np.arange(self.products) if draw is None else draw.candidates
        scores = self._scores(examples, candidates, self.tower.products(candidates))
        answer = torch.from_numpy(np.searchsorted(candidates, examples.targets)).to(scores.device)
        if draw is not None:
            # The answer itself is there by right, not by chance.
            scores = scores + draw.correction(scores).scatter(1, answer[:, None], 0.0)
        return cross_entropy(scores, answer)

    @torch.no_grad()
    def look(self, examples: Examples) -> Look:
        """The share of misses among all products, ties against the answer, and the loss with all of them.

        Of a catalogue of more than `MOST_LOOKED_AT`, among the answers and others drawn, the same at each look.
        """
        candidates, ranks, losses = self._looked_at(examples.targets), [], []
        vectors = self._vectors_of(candidates)
        for part in _parts(np.arange(len(examples)), max(1, min(_AT_ONCE, _SCORES_AT_ONCE // candidates.size))):
            some = examples.take(part)
            scores = self.scores(some.prefixes, candidates, vectors)
            answers = torch.from_numpy(np.searchsorted(candidates, some.targets)).to(scores.device)
            losses.append(cross_entropy(scores, answers, reduction="none").cpu())
            # A score that is not a number counts against the answer as well.
            ranks.append((~(scores < scores.gather(1, answers[:, None]))).sum(dim=1).cpu().numpy())
        hit = hit_at_k(np.concatenate(ranks), 10)
        loss = float(torch.cat(losses).mean())
        cost = (1.0 - hit, loss) if self.by_hits else (loss,)
        return Look(cost, {"validation_hit_at_10": hit, "validation_loss": loss})

    @torch.no_grad()
    def answers(self, prefixes: SessionTable) -> FloatArray:
        """Scores of all products: [E, M]."""
        everything, vectors = np.arange(self.products), self.product_vectors()
        scores = [
            self.scores(prefixes.take(part), everything, vectors).cpu() for part in _parts(np.arange(len(prefixes)))
        ]
        return cast(FloatArray, torch.cat(scores).numpy())

    @torch.no_grad()
    def product_vectors(self) -> Tensor:
        """The vectors of all products: [M, D]."""
        return self._vectors_of(np.arange(self.products))

    def _vectors_of(self, rows: IntArray) -> Tensor:
        return torch.cat([self.tower.products(part) for part in _parts(rows)])

    def _looked_at(self, answers: IntArray) -> IntArray:
        """Rows that answers are looked for among, ascending."""
        if self.products <= MOST_LOOKED_AT:
            return np.arange(self.products)
        drawn = np.random.default_rng(0).choice(self.products, MOST_LOOKED_AT, replace=False)
        return np.union1d(drawn, answers)

    def scores(self, prefixes: SessionTable, candidates: IntArray, vectors: Tensor) -> Tensor:
        """[B, C] scores of candidates, by ascending row; what a session holds already scores -inf.

        Args:
            vectors: [C, D], theirs.
        """
        return self._held_against(self.tower.sessions(prefixes), prefixes, candidates, vectors)

    def _scores(self, examples: Examples | Walks, candidates: IntArray, vectors: Tensor) -> Tensor:
        if isinstance(examples, Examples):
            return self.scores(examples.prefixes, candidates, vectors)
        beginnings = cast(CausalTower, self.tower).beginnings(examples.sessions)
        asked = beginnings[torch.from_numpy(examples.places).to(beginnings.device)]
        return self._held_against(asked, examples.examples.prefixes, candidates, vectors)

    def _held_against(self, sessions: Tensor, prefixes: SessionTable, candidates: IntArray, vectors: Tensor) -> Tensor:
        with full_precision(sessions.device):
            scores = _products_of(sessions.float(), vectors.float(), self.tower.temperature)
        if self.repeats:
            return scores
        places = np.searchsorted(candidates, prefixes.rows)
        places[places == candidates.size] = 0
        held = np.flatnonzero(candidates[places] == prefixes.rows)
        mask = torch.zeros(scores.shape, dtype=torch.bool)
        mask[torch.from_numpy(prefixes.session_of()[held]), torch.from_numpy(places[held])] = True
        return scores.masked_fill(mask.to(scores.device), float("-inf"))


def _products_of(sessions: Tensor, vectors: Tensor, temperature: float | None) -> Tensor:
    """[B, D], [C, D] -> [B, C] cosines over the temperature, or inner products where there is none."""
    if temperature is None:
        return sessions @ vectors.T
    return (normalize(sessions, dim=1) / temperature) @ normalize(vectors, dim=1).T


class _OfHead(nn.Module, ABC):
    """A tower and a head over its sessions, asked one question at a time, judged by the loss."""

    def __init__(self, tower: Tower, head: PurchaseIntentionHead | RemainingLengthHead) -> None:
        super().__init__()
        self.tower, self.head = tower, head

    def epoch(self, questions: Questions, rng: np.random.Generator) -> Examples:
        """Questions one by one."""
        return questions.training(rng)

    @abstractmethod
    def loss(self, examples: Examples, rng: np.random.Generator) -> Tensor:
        """Mean over examples."""

    @torch.no_grad()
    def look(self, examples: Examples) -> Look:
        """The loss."""
        rng = np.random.default_rng(0)  # nothing is drawn
        parts = list(_parts(np.arange(len(examples))))
        losses = [self.loss(examples.take(part), rng).item() * part.size for part in parts]
        loss = sum(losses) / len(examples)
        return Look((loss,), {"validation_loss": loss})

    @torch.no_grad()
    def answers(self, prefixes: SessionTable) -> FloatArray:
        """What the head says: [E]."""
        parts = _parts(np.arange(len(prefixes)))
        found = [self.head.predict(self.tower.sessions(prefixes.take(part)).float()).cpu() for part in parts]
        return cast(FloatArray, torch.cat(found).numpy())


class PurchaseIntention(_OfHead):
    """PIP: binary cross entropy (3.4.1, equation 5, with the sign that it means); answers are probabilities."""

    def loss(self, examples: Examples, rng: np.random.Generator) -> Tensor:
        """Mean over examples with both classes as frequent."""
        sessions = self.tower.sessions(examples.prefixes)
        with full_precision(sessions.device):
            logits = self.head(sessions.float())
            return binary_cross_entropy_with_logits(logits, _numbers(examples.targets).to(logits.device))


class RemainingLength(_OfHead):
    """RLP: mean squared error (3.4.2, equation 6), in units of the training set's spread; answers are interactions."""

    head: RemainingLengthHead

    def loss(self, examples: Examples, rng: np.random.Generator) -> Tensor:
        """Mean over examples."""
        sessions = self.tower.sessions(examples.prefixes)
        with full_precision(sessions.device):
            found = self.head(sessions.float())
            lengths = _numbers(examples.targets).to(found.device)
            return mse_loss(found, (lengths - self.head.mean) / self.head.spread)


def _numbers(targets: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(targets.astype(np.float32))


def _parts(rows: IntArray, size: int = _AT_ONCE) -> Iterator[IntArray]:
    for first in range(0, rows.size, size):
        yield rows[first : first + size]
