"""Which products a step compares targets with where a softmax over all would cost too much, and how each one counts.

A popular product is drawn more often, and would be pushed away for it; so each score is corrected by how often its
product was drawn, relative to how often that was to be expected (logQ). On average the sum over a sample is then the
sum over all products.

Letters: B examples, M products, C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ubm_embed.data.arrays import IntArray, ragged_index
from ubm_embed.data.tasks.examples import TargetSequences, TaskExamples

# A session's own share is subtracted from an expectation; rounding must not leave 0 or less.
_MIN_EXPECTED = 1e-9


class SampledSoftmax:
    """Draws the candidates: half by the targets' popularity, half uniformly, so that rare products are compared too.

    Args:
        products: M.
        negatives: draws.
        popularity: [M] how often each product is the target of a training example; None for equally often.
    """

    def __init__(self, products: int, negatives: int, popularity: IntArray | None = None) -> None:
        self.products, self.negatives = products, negatives
        counts = np.ones(products) if popularity is None else np.asarray(popularity, dtype=np.float64)
        self.popularity = counts / counts.sum()
        self.proposal = 0.5 * self.popularity + 0.5 / products

    def draw(
        self, examples: TaskExamples | TargetSequences, rng: np.random.Generator, *, training: bool
    ) -> NegativeSample:
        """The candidates of a batch: draws, and the targets of its examples.

        Args:
            training: the targets of other examples count as draws by popularity. Those of a validation part do not: it
                was not sampled by this popularity.
        """
        targets = examples.targets
        draws = rng.choice(self.products, self.negatives, p=self.proposal)
        candidates = np.union1d(draws, targets)
        expected = self.negatives * self.proposal[candidates]
        counts = np.bincount(np.searchsorted(candidates, draws), minlength=candidates.size)
        if not training:
            return NegativeSample(candidates, counts, expected)
        counts = counts + np.bincount(np.searchsorted(candidates, targets), minlength=candidates.size)
        expected = expected + (len(targets) - 1) * self.popularity[candidates]
        own = None
        if isinstance(examples, TargetSequences):
            own = self._own_targets(examples, candidates, counts, expected)
        return NegativeSample(candidates, counts, expected, own)

    def _own_targets(
        self, examples: TargetSequences, candidates: IntArray, counts: IntArray, expected: NDArray[np.float64]
    ) -> OwnTargets:
        """For each example the targets of its own session, which are no draws for it.

        They are more likely in that session than their popularity says, and would be pushed away for it.
        """
        session = examples.sessions.session_of()[examples.positions]
        columns = np.searchsorted(candidates, examples.targets)
        pairs, times = np.unique(session * candidates.size + columns, return_counts=True)
        owner, column = pairs // candidates.size, pairs % candidates.size
        first, last = np.searchsorted(owner, session), np.searchsorted(owner, session, side="right")
        chosen, example = ragged_index(first, last - first), np.repeat(np.arange(session.size), last - first)
        column = column[chosen]
        others = np.bincount(session, minlength=len(examples))[session[example]] - 1
        rest = expected[column] - others * self.popularity[candidates[column]]
        return OwnTargets(example, column, counts[column] - times[chosen], np.maximum(rest, _MIN_EXPECTED))


@dataclass(frozen=True)
class OwnTargets:
    """Pairs of an example and a target of its session.

    Attributes:
        example, candidate: which example, and which candidate the target is.
        counts, expected: as of `NegativeSample`, without the targets of the session itself.
    """

    example: IntArray
    candidate: IntArray
    counts: IntArray
    expected: NDArray[np.float64]


@dataclass(frozen=True)
class NegativeSample:
    """The candidates that the targets of a batch are compared with.

    Attributes:
        candidates: [C] rows, ascending.
        counts: [C] how often each was drawn.
        expected: [C] how often it was expected to be drawn.
        own: other counts for pairs of an example and a candidate, or None.
    """

    candidates: IntArray
    counts: IntArray
    expected: NDArray[np.float64]
    own: OwnTargets | None = None

    def correction(self, examples: int) -> Tensor:
        """log(counts / expected) of each example and candidate, -inf where none was drawn: [B, C] float32."""
        with np.errstate(divide="ignore"):  # a candidate without a draw counts only where it is the target
            shift = torch.from_numpy(np.log(self.counts / self.expected)).float().repeat(examples, 1)
            if self.own is not None:
                own = torch.from_numpy(np.log(self.own.counts / self.own.expected)).float()
                shift[torch.from_numpy(self.own.example), torch.from_numpy(self.own.candidate)] = own
        return shift
