"""Which products answers are held against where a softmax over all would cost too much, and how much each counts.

A popular product comes up more often, and would be pushed away for it; so each score is corrected by how often its
product was drawn against how often that was to be expected (logQ). On average the sum over a sample is then the sum
over all products.

Letters: B questions, M products, C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ubm_embed.data.arrays import IntArray, ragged_index
from ubm_embed.data.tasks.examples import Examples, Walks

# What is taken from an expectation must leave something of it, rounding or not.
_LEAST_EXPECTED = 1e-9


class Sample:
    """Half of the draws follow the answers' popularity, half are uniform, so that rare products are pushed away too.

    Args:
        products: M.
        negatives: draws.
        popularity: [M] how often each product is an answer.
    """

    def __init__(self, products: int, negatives: int, popularity: IntArray | None = None) -> None:
        self.products, self.negatives = products, negatives
        shares = np.ones(products) if popularity is None else np.asarray(popularity, dtype=np.float64)
        self.popularity = shares / shares.sum()
        self.proposal = 0.5 * self.popularity + 0.5 / products

    def draw(self, examples: Examples | Walks, rng: np.random.Generator, *, training: bool) -> Draw:
        """Draw, and take the answers of the batch along.

        Args:
            training: the answers of others are draws of the popularity; those of a validation part are not.
        """
        targets = examples.targets
        draws = rng.choice(self.products, self.negatives, p=self.proposal)
        candidates = np.union1d(draws, targets)
        expected = self.negatives * self.proposal[candidates]
        counts = np.bincount(np.searchsorted(candidates, draws), minlength=candidates.size)
        if not training:
            return Draw(candidates, counts, expected)
        counts = counts + np.bincount(np.searchsorted(candidates, targets), minlength=candidates.size)
        expected = expected + (len(targets) - 1) * self.popularity[candidates]
        own = self._own_answers(examples, candidates, counts, expected) if isinstance(examples, Walks) else None
        return Draw(candidates, counts, expected, own)

    def _own_answers(
        self, walks: Walks, candidates: IntArray, counts: IntArray, expected: NDArray[np.float64]
    ) -> OwnAnswers:
        """For each question the answers of its session, which are no draws for it.

        What a session comes to is more likely there than its popularity says, and would be pushed away for it.
        """
        session = walks.sessions.session_of()[walks.places]
        places = np.searchsorted(candidates, walks.targets)
        pairs, times = np.unique(session * candidates.size + places, return_counts=True)
        owner, answer = pairs // candidates.size, pairs % candidates.size
        first, last = np.searchsorted(owner, session), np.searchsorted(owner, session, side="right")
        chosen, question = ragged_index(first, last - first), np.repeat(np.arange(session.size), last - first)
        answer = answer[chosen]
        others = np.bincount(session, minlength=len(walks))[session[question]] - 1
        rest = expected[answer] - others * self.popularity[candidates[answer]]
        return OwnAnswers(question, answer, counts[answer] - times[chosen], np.maximum(rest, _LEAST_EXPECTED))


@dataclass(frozen=True)
class OwnAnswers:
    """Pairs of a question and an answer of its session.

    Attributes:
        question, answer: which question, which candidate.
        counts, expected: as of `Draw`, without what the session itself brought.
    """

    question: IntArray
    answer: IntArray
    counts: IntArray
    expected: NDArray[np.float64]


@dataclass(frozen=True)
class Draw:
    """What the answers of a batch are held against.

    Attributes:
        candidates: [C] rows, ascending.
        counts: [C] how often each was drawn.
        expected: [C] how often that was to be expected.
        own: what counts otherwise for some questions; None for nothing.
    """

    candidates: IntArray
    counts: IntArray
    expected: NDArray[np.float64]
    own: OwnAnswers | None = None

    def correction(self, scores: Tensor) -> Tensor:
        """log(counts / expected) for each question and candidate, -inf where none was drawn: like `scores`, [B, C]."""
        with np.errstate(divide="ignore"):  # not drawn: no candidate, but for the one whose answer it is
            shift = torch.from_numpy(np.log(self.counts / self.expected)).to(scores).expand_as(scores)
            if self.own is None:
                return shift
            own = torch.from_numpy(np.log(self.own.counts / self.own.expected)).to(scores)
        where = tuple(torch.from_numpy(index).to(scores.device) for index in (self.own.question, self.own.answer))
        return shift.index_put(where, own)
