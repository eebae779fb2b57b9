"""What a shop's rules are, and candidates in their order.

Candidates are positions of products and their scores, whatever found them. Equal scores are ordered by position,
so that the same question always gets the same answer.

Letters: C candidates, K matches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field, Strict

from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray
from ubm_embed.validation import FrozenModel

# Candidates for each match, at least and at most, if rules take others than simply the best K. Diversity compares each
# of them with each match, which is why there is a most.
_CANDIDATES_PER_MATCH, _MIN_CANDIDATES, _MAX_CANDIDATES = 10, 100, 2_000
# Beyond it nothing would be left of a cosine in the seven digits of a float32.
MAX_BOOST = 1_000_000.0


class Rules(FrozenModel):
    """What a shop wants of an answer, besides that it fits the session.

    Attributes:
        where: a condition that every match satisfies, in SQL; see `indexer.catalogue.filters`.
        exclude_seen: leave out products that the session holds.
        exclude: ids of products that never match.
        boost: what is added to a product's score, by its id; a negative one lets others pass. Scores are cosines, so
            0.1 is a lot; at most `MAX_BOOST` either way.
        diversity: 0 takes the best; 1 only avoids matches that are similar to one above (maximal marginal relevance).
        max_per: how many matches may share a value of a column, by the column's name. Products without a value there
            are not limited.
        counts: whether what shoppers did next adds to the scores of a session's matches, if the version has counts.
        words: whether shared words add to the scores where a session ends in a search, or a product is looked up by its
            text, if the version has its words.

    Raises:
        ValueError: diversity outside [0, 1], a limit below 1, or a boost beyond `MAX_BOOST`.
    """

    where: str | None = None
    exclude_seen: bool = True
    exclude: Annotated[frozenset[str], Strict(False)] = frozenset()  # of any collection
    boost: Mapping[str, Annotated[float, Field(ge=-MAX_BOOST, le=MAX_BOOST)]] = {}
    diversity: Annotated[float, Field(ge=0, le=1)] = 0.0
    max_per: Mapping[str, Annotated[int, Field(ge=1)]] = {}
    counts: bool = True
    words: bool = True


@dataclass(frozen=True, slots=True)
class Ranked:
    """Positions of products, best first.

    Attributes:
        positions: [C].
        scores: [C].
    """

    positions: IntArray
    scores: FloatArray

    def __len__(self) -> int:
        """C."""
        return self.positions.size

    def part(self, first: int, end: int) -> Ranked:
        """Those from `first` to before `end`, as far as there are any."""
        return Ranked(self.positions[first:end], self.scores[first:end])

    def where(self, mask: BoolArray) -> Ranked:
        """Those that a mask [C] selects."""
        return Ranked(self.positions[mask], self.scores[mask])

    def without(self, positions: frozenset[int]) -> Ranked:
        """The same without these positions."""
        if not positions:
            return self
        return self.where(np.array([position not in positions for position in self.positions.tolist()], bool))

    def ahead_of_last(self, others: Ranked) -> BoolArray:
        """Which of these are better than the last of others, of which there is at least one: [C]."""
        score, position = others.scores[-1], others.positions[-1]
        ahead: BoolArray = (self.scores > score) | ((self.scores == score) & (self.positions < position))
        return ahead

    def merged(self, others: Ranked) -> Ranked:
        """These and others in one order: best first, equal scores by position."""
        return self.with_others(others).in_order() if len(others) else self

    def with_others(self, others: Ranked) -> Ranked:
        """These and then others, in no order."""
        if not len(others):
            return self
        positions = np.concatenate([self.positions, others.positions])
        return Ranked(positions, np.concatenate([self.scores, others.scores]))

    def best(self, count: int) -> Ranked:
        """The best of these that are in any order, at most `count`: best first, equal scores by position."""
        if len(self) <= count:
            return self.in_order()
        least = np.partition(self.scores, len(self) - count)[len(self) - count]
        return self.where(self.scores >= least).in_order().part(0, count)

    def in_order(self) -> Ranked:
        """The same, best first, equal scores by position."""
        order = np.lexsort((self.positions, -self.scores))
        return Ranked(self.positions[order], self.scores[order])


def num_candidates(k: int) -> int:
    """How many candidates are looked at for K matches under caps or with diversity."""
    return max(k, _MIN_CANDIDATES, min(_CANDIDATES_PER_MATCH * k, _MAX_CANDIDATES))
