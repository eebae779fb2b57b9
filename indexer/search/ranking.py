"""From candidates to matches: what is left out, what is pushed, how much alike the matches may be.

All of it works on rows of a version and their scores; where these come from does not matter. Equal scores stand in the
order of the version's products, so the same question has the same answer.

Letters: C candidates, K matches, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ubm_embed.data.arrays import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a shop wants of an answer, beside that it fits.

    Attributes:
        where: a condition that every match satisfies, see `indexer.search.filters`; None for none.
        exclude_seen: leave out products that the session holds.
        exclude: ids of products that never match.
        boost: what is added to a product's score, by its id. Scores are cosines: 0.1 is much.
        diversity: 0 takes the best, 1 looks only that no match is like one above it (maximal marginal relevance).
        most_per: how many matches at most may have the same value in a column, by the column's name. Products without
            a value there are not counted.

    Raises:
        ValueError: diversity outside [0, 1], fewer than one match a value, or a boost that is no number.
    """

    where: str | None = None
    exclude_seen: bool = True
    exclude: frozenset[str] = frozenset()
    boost: Mapping[str, float] = field(default_factory=dict)
    diversity: float = 0.0
    most_per: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.diversity <= 1:
            raise ValueError(f"diversity must be in [0, 1], got {self.diversity}")
        for column, most in self.most_per.items():
            if most < 1:
                raise ValueError(f"most_per must be at least 1, got {column}={most}")
        for product_id, boost in self.boost.items():
            if not np.isfinite(boost):
                raise ValueError(f"boost must be a number, got {boost} for {product_id!r}")

    @property
    def best_only(self) -> bool:
        """Whether the K best candidates are the answer, so that none beyond them need be looked at."""
        return not (self.diversity or self.most_per)


@dataclass(frozen=True)
class Ranked:
    """Rows of a version, best first.

    Attributes:
        positions: [C].
        scores: [C].
    """

    positions: IntArray
    scores: FloatArray

    def first(self, count: int) -> Ranked:
        """The best so many."""
        return Ranked(self.positions[:count], self.scores[:count])

    def by_score(self) -> Ranked:
        """The same, best first; equal scores by position."""
        order = np.lexsort((self.positions, -self.scores))
        return Ranked(self.positions[order], self.scores[order])


def select(
    found: Ranked,
    k: int,
    rules: Rules,
    values: Callable[[str, IntArray], Sequence[object]],
    vectors: Callable[[IntArray], FloatArray],
) -> Ranked:
    """At most K of the candidates, in the order of the answer.

    Args:
        found: best first.
        values: of a column at rows, for those of `most_per`.
        vectors: of rows: [C] -> [C, D], of length 1; asked only where diversity is.
    """
    if rules.best_only:
        return found.first(k)
    caps = [_Cap(values(column, found.positions), most) for column, most in rules.most_per.items()]
    alike = _Alikeness(vectors(found.positions)) if rules.diversity else None
    kept: list[int] = []
    open_ = np.ones(found.positions.size, bool)
    while len(kept) < k and open_.any():
        worth = found.scores if alike is None else (1 - rules.diversity) * found.scores - rules.diversity * alike.most
        best = int(np.argmax(np.where(open_, worth, -np.inf)))
        open_[best] = False
        if not all(cap.has_room(best) for cap in caps):
            continue
        kept.append(best)
        for cap in caps:
            cap.take(best)
        if alike is not None:
            alike.take(best)
    return Ranked(found.positions[kept], found.scores[kept])


class _Cap:
    """How many of a column's values were taken."""

    def __init__(self, values: Sequence[object], most: int) -> None:
        # Lists and structs are no keys; equal ones read the same.
        self._values = [repr(value) if isinstance(value, list | dict) else value for value in values]
        self._most, self._taken = most, dict[object, int]()

    def has_room(self, row: int) -> bool:
        return self._taken.get(self._values[row], 0) < self._most

    def take(self, row: int) -> None:
        value = self._values[row]
        if value is not None:
            self._taken[value] = self._taken.get(value, 0) + 1


class _Alikeness:
    """How much each candidate is like the one that it is most like of those taken; 0 while none is."""

    def __init__(self, vectors: FloatArray) -> None:
        self._vectors = vectors
        self.most = np.zeros(len(vectors), np.float32)
        self._any = False

    def take(self, row: int) -> None:
        alike = self._vectors @ self._vectors[row]
        self.most = np.maximum(self.most, alike) if self._any else alike
        self._any = True
