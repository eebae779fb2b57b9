"""Where searching and ranking happen: from vectors, or from popularity, to the products that match under rules.

Letters: B queries, C candidates, K matches, M products, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.index.vector_index import VectorIndex
from indexer.search.catalogue import Catalogue
from indexer.search.ranking import Ranked, Rules, select
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.errors import InvalidData

# Candidates for each match, and at least, if rules take others than simply the best K. When rules leave too few of
# them, four times as many are ranked.
_CANDIDATES_PER_MATCH, _MIN_CANDIDATES = 10, 100
_DEEPENING = 4
_HIDDEN_STEP = 8


@dataclass(frozen=True)
class Hits:
    """Positions and scores of one answer, best first; no scores if popularity chose."""

    positions: IntArray
    scores: FloatArray | None = None


class Matcher:
    """Finds the products of one version that match under a shop's rules. Several threads may ask at once."""

    def __init__(self, index: VectorIndex, catalogue: Catalogue) -> None:
        self.index = index
        self.catalogue = catalogue

    def nearest(self, vectors: FloatArray, k: int, hidden: Sequence[frozenset[int]], rules: Rules) -> list[Hits]:
        """The K best products for each vector, without those that are hidden from it.

        K match whenever K products may, however few these are of all.

        Args:
            vectors: [B, D], of length 1.
            hidden: positions, for each vector.

        Raises:
            InvalidData: the rules name a column that is not there, or their condition is invalid.
        """
        allowed = self._allowed(rules)
        boosts = self._boosts(rules, allowed)
        hits: list[Hits] = [Hits(np.empty(0, np.int64))] * len(vectors)
        depth = k if rules.best_only else max(_CANDIDATES_PER_MATCH * k, _MIN_CANDIDATES)
        left = list(range(len(vectors)))
        while left:
            short: list[int] = []
            for count, rows in _by_count(left, hidden, depth).items():
                near = self.index.search(vectors[rows], count, allowed)
                for row, scores, positions in zip(rows, near.scores, near.positions, strict=True):
                    candidates = _without(Ranked(positions, scores), hidden[row]).first(depth)
                    candidates = self._with_boosts(candidates, vectors[row], _without(boosts, hidden[row]))
                    selected = select(candidates, k, rules, self.catalogue.values, self.index.vectors)
                    hits[row] = Hits(selected.positions, selected.scores)
                    if selected.positions.size < k and positions.size == count:
                        short.append(row)
            left, depth = short, _DEEPENING * depth
        return hits

    def popular(self, k: int, hidden: frozenset[int], rules: Rules) -> Hits:
        """The K most popular products under the same rules; except diversity, which needs scores.

        Raises:
            InvalidData: as `nearest`.
        """
        allowed = self._allowed(rules)
        positions = self.catalogue.popular
        positions = positions if allowed is None else positions[allowed[positions]]
        candidates = _without(Ranked(positions, np.zeros(positions.size, np.float32)), hidden)
        rules = rules.model_copy(update={"diversity": 0.0})
        return Hits(select(candidates, k, rules, self.catalogue.values, self.index.vectors).positions)

    def _allowed(self, rules: Rules) -> NDArray[np.bool_] | None:
        """Which products may match at all: [M]; None if all may."""
        for column in rules.max_per:
            if column not in self.catalogue.columns:
                known = ", ".join(self.catalogue.columns)
                raise InvalidData(f"no such column; there is: {known}", field=column)
        allowed = None if rules.where is None else self.catalogue.allowed(rules.where)
        excluded = list(self.catalogue.find(rules.exclude).values())
        if excluded:
            allowed = np.ones(len(self.catalogue), bool) if allowed is None else allowed.copy()
            allowed[excluded] = False
        return allowed

    def _boosts(self, rules: Rules, allowed: NDArray[np.bool_] | None) -> Ranked:
        """Positions of boosted products that may match, in their order, and by how much each is boosted."""
        found = self.catalogue.find(rules.boost) if rules.boost else {}
        visible = {row: rules.boost[name] for name, row in found.items() if allowed is None or allowed[row]}
        positions = sorted(visible)
        boosts = [visible[position] for position in positions]
        return Ranked(np.array(positions, np.int64), np.array(boosts, np.float32))

    def _with_boosts(self, candidates: Ranked, query: FloatArray, boosts: Ranked) -> Ranked:
        """The candidates with boosted scores; a boosted product is one of them even if it was not near enough."""
        if not boosts.positions.size:
            return candidates
        others = ~np.isin(candidates.positions, boosts.positions)
        scores = self.index.scores(query, boosts.positions) + boosts.scores
        positions = np.concatenate([candidates.positions[others], boosts.positions])
        return Ranked(positions, np.concatenate([candidates.scores[others], scores])).by_score()


def _by_count(rows: Sequence[int], hidden: Sequence[frozenset[int]], depth: int) -> dict[int, list[int]]:
    """Queries by the number of candidates that they want: as many as each would get alone.

    What is hidden counts in steps, so that few searches serve a whole batch.
    """
    grouped: dict[int, list[int]] = {}
    for row in rows:
        grouped.setdefault(depth + -(-len(hidden[row]) // _HIDDEN_STEP) * _HIDDEN_STEP, []).append(row)
    return grouped


def _without(ranked: Ranked, hidden: frozenset[int]) -> Ranked:
    visible = ~np.isin(ranked.positions, list(hidden))
    return Ranked(ranked.positions[visible], ranked.scores[visible])
