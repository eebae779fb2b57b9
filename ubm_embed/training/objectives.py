"""What fine-tuning minimises, one module a task: a tower, its head, and the loss of equations 5 to 7.

Letters: B examples, E examples, M products, C candidates, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss, normalize

from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.data.session_table import SessionTable
from ubm_embed.data.tasks import Examples
from ubm_embed.model.heads import PurchaseIntentionHead, RemainingLengthHead
from ubm_embed.model.tower import Tower
from ubm_embed.training.precision import full_precision

_AT_ONCE = 512


class Objective(Protocol):
    """A `nn.Module` that the fine-tuning loop trains."""

    def loss(self, examples: Examples, rng: np.random.Generator) -> Tensor:
        """The mean loss of B examples: a scalar."""

    def answers(self, prefixes: SessionTable) -> FloatArray:
        """What it answers to E prefixes, without gradients; [E, M] scores, or [E] numbers."""


class NextItem(nn.Module):
    """NIP: a softmax over the products (3.4.3, equation 7), all of them or a sample.

    A sample is corrected for how likely each product was to be in it (logQ): a popular product comes up as a negative
    more often, and would be pushed down for it. Half of the draws follow the answers' popularity, half are uniform, so
    that rare products are pushed away too; the batch's other answers come along for free.

    Args:
        products: M.
        popularity: [M] how often each product is an answer.
        negatives: draws a step; None takes all products.
        repeats: whether a product that the session holds may be the answer; else it is no candidate.
    """

    def __init__(
        self,
        tower: Tower,
        products: int,
        *,
        popularity: IntArray | None = None,
        negatives: int | None = None,
        repeats: bool = False,
    ) -> None:
        super().__init__()
        self.tower, self.products, self.negatives, self.repeats = tower, products, negatives, repeats
        shares = np.ones(products) if popularity is None else np.asarray(popularity, dtype=np.float64)
        self.popularity = shares / shares.sum()
        self.proposal = 0.5 * self.popularity + 0.5 / products

    def loss(self, examples: Examples, rng: np.random.Generator) -> Tensor:
        """Mean of -log softmax of the answer."""
        candidates, correction = self._candidates(examples.targets, rng)
        scores = self.scores(examples.prefixes, candidates, self.tower.products(candidates))
        answer = torch.from_numpy(np.searchsorted(candidates, examples.targets)).to(scores.device)
        if correction is not None:
            shift = torch.from_numpy(correction).to(scores).expand_as(scores)
            # The answer itself is there by right, not by chance.
            scores = scores + shift.scatter(1, answer[:, None], 0.0)
        return cross_entropy(scores, answer)

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
        return torch.cat([self.tower.products(part) for part in _parts(np.arange(self.products))])

    def scores(self, prefixes: SessionTable, candidates: IntArray, vectors: Tensor) -> Tensor:
        """[B, C] scores of candidates, by ascending row; what a session holds already scores -inf.

        Args:
            vectors: [C, D], theirs.
        """
        sessions = self.tower.sessions(prefixes)
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

    def _candidates(self, targets: IntArray, rng: np.random.Generator) -> tuple[IntArray, FloatArray | None]:
        """Rows [C], ascending, and log(how often each was drawn / how often that was to be expected) [C]."""
        if self.negatives is None:
            return np.arange(self.products), None
        draws = rng.choice(self.products, self.negatives, p=self.proposal)
        candidates = np.union1d(draws, targets)
        expected = self.negatives * self.proposal[candidates]
        counts = np.bincount(np.searchsorted(candidates, draws), minlength=candidates.size)
        if self.training:  # the answers of others are draws of `popularity`; those of a validation part are not
            counts += np.bincount(np.searchsorted(candidates, targets), minlength=candidates.size)
            expected += (len(targets) - 1) * self.popularity[candidates]
        with np.errstate(divide="ignore"):  # not drawn: no candidate, but for the one whose answer it is
            return candidates, np.log(counts / expected).astype(np.float32)


def _products_of(sessions: Tensor, vectors: Tensor, temperature: float | None) -> Tensor:
    """[B, D], [C, D] -> [B, C] cosines over the temperature, or inner products where there is none."""
    if temperature is None:
        return sessions @ vectors.T
    return (normalize(sessions, dim=1) / temperature) @ normalize(vectors, dim=1).T


class PurchaseIntention(nn.Module):
    """PIP: binary cross entropy (3.4.1, equation 5, with the sign that it means)."""

    def __init__(self, tower: Tower, head: PurchaseIntentionHead) -> None:
        super().__init__()
        self.tower, self.head = tower, head

    def loss(self, examples: Examples, rng: np.random.Generator) -> Tensor:
        """Mean over examples with both classes as frequent."""
        sessions = self.tower.sessions(examples.prefixes)
        with full_precision(sessions.device):
            logits = self.head(sessions.float())
            return binary_cross_entropy_with_logits(logits, _numbers(examples.targets).to(logits.device))

    @torch.no_grad()
    def answers(self, prefixes: SessionTable) -> FloatArray:
        """Probabilities of a purchase: [E]."""
        return _predictions(self.tower, self.head, prefixes)


class RemainingLength(nn.Module):
    """RLP: mean squared error (3.4.2, equation 6), in units of the training set's spread."""

    def __init__(self, tower: Tower, head: RemainingLengthHead) -> None:
        super().__init__()
        self.tower, self.head = tower, head

    def loss(self, examples: Examples, rng: np.random.Generator) -> Tensor:
        """Mean over examples."""
        sessions = self.tower.sessions(examples.prefixes)
        with full_precision(sessions.device):
            found = self.head(sessions.float())
            lengths = _numbers(examples.targets).to(found.device)
            return mse_loss(found, (lengths - self.head.mean) / self.head.spread)

    @torch.no_grad()
    def answers(self, prefixes: SessionTable) -> FloatArray:
        """Interactions still to come: [E]."""
        return _predictions(self.tower, self.head, prefixes)


def _predictions(tower: Tower, head: PurchaseIntentionHead | RemainingLengthHead, prefixes: SessionTable) -> FloatArray:
    parts = [
        head.predict(tower.sessions(prefixes.take(part)).float()).cpu() for part in _parts(np.arange(len(prefixes)))
    ]
    return cast(FloatArray, torch.cat(parts).numpy())


def _numbers(targets: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(targets.astype(np.float32))


def _parts(rows: IntArray) -> Iterator[IntArray]:
    for first in range(0, rows.size, _AT_ONCE):
        yield rows[first : first + _AT_ONCE]
