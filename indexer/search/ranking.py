"""From candidates to matches: which are left out, which are boosted, and how similar the matches may be.

All of it works on positions of products and their scores, wherever these come from. Equal scores are ordered by
position, so that the same question always gets the same answer.

Letters: C candidates, K matches, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field, Strict

from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.validation import FrozenModel


class Rules(FrozenModel):
    """What a shop wants of an answer, besides that it fits the session.

    Attributes:
        where: a condition that every match satisfies, in SQL; see `indexer.search.filters`.
        exclude_seen: leave out products that the session holds.
        exclude: ids of products that never match.
        boost: what is added to a product's score, by its id. Scores are cosines, so 0.1 is a lot.
        diversity: 0 takes the best; 1 only avoids matches that are similar to one above (maximal marginal relevance).
        max_per: how many matches may share a value of a column, by the column's name. Products without a value there
            are not limited.

    Raises:
        ValueError: diversity outside [0, 1], a limit below 1, or a boost that is not finite.
    """

    where: str | None = None
    exclude_seen: bool = True
    exclude: Annotated[frozenset[str], Strict(False)] = frozenset()  # of any collection
    boost: Mapping[str, float] = {}
    diversity: Annotated[float, Field(ge=0, le=1)] = 0.0
    max_per: Mapping[str, Annotated[int, Field(ge=1)]] = {}

    @property
    def best_only(self) -> bool:
        """Whether the K best candidates are the answer, so that no others need be looked at."""
        return not (self.diversity or self.max_per)


@dataclass(frozen=True)
class Ranked:
    """Positions of products, best first.

    Attributes:
        positions: [C].
        scores: [C].
    """

    positions: IntArray
    scores: FloatArray

    def first(self, count: int) -> Ranked:
        """The best `count`, or all if there are fewer."""
        return Ranked(self.positions[:count], self.scores[:count])

    def by_score(self) -> Ranked:
        """The same, sorted: best first, equal scores by position."""
        order = np.lexsort((self.positions, -self.scores))
        return Ranked(self.positions[order], self.scores[order])


def select(
    candidates: Ranked,
    k: int,
    rules: Rules,
    values: Callable[[str, IntArray], Sequence[object]],
    vectors: Callable[[IntArray], FloatArray],
) -> Ranked:
    """At most K of the candidates, in the order of the answer.

    Args:
        candidates: best first.
        values: of a column at positions; called for the columns of `max_per` only.
        vectors: at positions: [C] -> [C, D], of length 1; called only if diversity is above 0.
    """
    if rules.best_only:
        return candidates.first(k)
    caps = [_Cap(values(column, candidates.positions), limit) for column, limit in rules.max_per.items()]
    similarity = _Similarity(vectors(candidates.positions)) if rules.diversity else None
    taken: list[int] = []
    open_ = np.ones(candidates.positions.size, bool)
    while len(taken) < k and open_.any():
        worth = candidates.scores
        if similarity is not None:
            worth = (1 - rules.diversity) * candidates.scores - rules.diversity * similarity.highest
        best = int(np.argmax(np.where(open_, worth, -np.inf)))
        open_[best] = False
        if not all(cap.has_room(best) for cap in caps):
            continue
        taken.append(best)
        for cap in caps:
            cap.take(best)
        if similarity is not None:
            similarity.take(best)
    return Ranked(candidates.positions[taken], candidates.scores[taken])


class _Cap:
    """How often each value of a column was taken, and how often it may be."""

    def __init__(self, values: Sequence[object], limit: int) -> None:
        # Lists and structs cannot be keys; equal ones have the same repr.
        self._values = [repr(value) if isinstance(value, list | dict) else value for value in values]
        self._limit, self._taken = limit, dict[object, int]()

    def has_room(self, candidate: int) -> bool:
        return self._taken.get(self._values[candidate], 0) < self._limit

    def take(self, candidate: int) -> None:
        value = self._values[candidate]
        if value is not None:
            self._taken[value] = self._taken.get(value, 0) + 1


class _Similarity:
    """The cosine of each candidate and the taken one that it is most similar to; 0 before any was taken."""

    def __init__(self, vectors: FloatArray) -> None:
        self._vectors = vectors
        self.highest = np.zeros(len(vectors), np.float32)
        self._any_taken = False

    def take(self, candidate: int) -> None:
        cosines = self._vectors @ self._vectors[candidate]
        self.highest = np.maximum(self.highest, cosines) if self._any_taken else cosines
        self._any_taken = True
