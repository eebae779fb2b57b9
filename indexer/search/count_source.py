"""Candidates from counts: what shoppers did next after the last products of a session.

Letters: S steps, R products of a session, K matches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from indexer.revisions.revised_counts import RevisedCounts
from indexer.search.candidate_source import NO_BONUSES, Bonuses
from indexer.search.resolution import Step
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.data.removals import positions_left
from ubm_embed.data.session import Action


class _Recent(NamedTuple):
    """The last products of a session.

    Attributes:
        steps: their numbers among the steps, from 0: [R].
        positions: [R].
        weights: the later a product the more: [R].
    """

    steps: IntArray
    positions: IntArray
    weights: FloatArray


class CountSource:
    """As `CandidateSource`: weight x log(1 + what came after the session's last products)."""

    def __init__(self, counts: RevisedCounts) -> None:
        self._counts = counts
        self._recency = counts.weights.recency(counts.weights.max_recent)

    def bonuses(self, steps: Sequence[Step]) -> Bonuses:
        """As `CandidateSource`.

        Raises:
            InvalidData: the version's counts are damaged.
        """
        recent = self._recent(steps)
        if not recent.positions.size:
            return NO_BONUSES
        found = self._counts.candidates(recent.positions, recent.weights)
        values = self._counts.weights.bonus(found.sums, found.seen)
        bonuses, has_bonus = Bonuses(found.positions, values), values > 0
        return bonuses if has_bonus.all() else bonuses.where(has_bonus)

    def parts(self, steps: Sequence[Step], positions: Sequence[int]) -> FloatArray:
        """How much lower the bonus of each match would be without what followed each step: [K, S]."""
        recent, parts = self._recent(steps), np.zeros((len(positions), len(steps)), np.float32)
        for row, position in enumerate(positions):
            counts, seen = self._counts.parts(recent.positions, recent.weights, position)
            total = counts.sum(keepdims=True)
            sums = np.concatenate([total, np.maximum(total - counts, 0)])
            bonus = self._counts.weights.bonus(sums, np.full(sums.size, seen, np.uint8))
            parts[row, recent.steps] = bonus[0] - bonus[1:]
        return parts

    def _recent(self, steps: Sequence[Step]) -> _Recent:
        """The products that count: those that the version has, without searches and what was taken back."""
        left: Sequence[int] = range(len(steps))
        if any(step.interaction.action is Action.REMOVE for step in steps):
            left = positions_left([step.interaction for step in steps])
        numbers, limit = list[int](), self._counts.weights.max_recent
        for number in reversed(left):
            if steps[number].position is not None:
                numbers.append(number)
            if len(numbers) == limit:
                break
        numbers.reverse()
        positions = [position for number in numbers if (position := steps[number].position) is not None]
        weights = self._recency[self._recency.size - len(numbers) :]
        return _Recent(np.array(numbers, np.int64), np.array(positions, np.int64), weights)
