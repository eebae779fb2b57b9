"""The one place where a version's products are searched and ranked, whoever asks: a vector or popularity, and rules.

Letters: B queries, C candidates, K matches, M products, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from indexer.index.vector_index import VectorIndex
from indexer.search.catalogue import Catalogue
from indexer.search.ranking import Ranked, Rules, select
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.errors import InvalidData

# Candidates a match, where not simply the best K are taken; more are asked for when too few are left.
_CANDIDATES, _LEAST = 10, 100
_STEP = 8


@dataclass(frozen=True)
class Hits:
    """Rows and scores of one answer, best first; no scores where popularity chose."""

    positions: IntArray
    scores: FloatArray | None = None


def _by_fetch(rows: Sequence[int], hidden: Sequence[frozenset[int]], depth: int) -> dict[int, list[int]]:
    """Queries by how many candidates they want: as many as each gets alone, and in steps, so that few searches do."""
    grouped: dict[int, list[int]] = {}
    for row in rows:
        grouped.setdefault(depth + -(-len(hidden[row]) // _STEP) * _STEP, []).append(row)
    return grouped


class Matcher:
    """Finds rows of one version under the rules of a shop. Several threads may ask at once."""

    def __init__(self, index: VectorIndex, catalogue: Catalogue) -> None:
        self.index = index
        self.catalogue = catalogue

    def nearest(self, vectors: FloatArray, k: int, hidden: Sequence[frozenset[int]], rules: Rules) -> list[Hits]:
        """The K best of each vector, without the rows that are hidden from it.

        K matches come back whenever K products may match, however few these are of all.

        Args:
            vectors: [B, D], of length 1.
            hidden: rows, for each vector.

        Raises:
            InvalidData: the rules name a column that is not there, or their condition is none.
        """
        allowed = self._allowed(rules)
        boosts = self._boosts(rules, allowed)
        found: list[Hits] = [Hits(np.empty(0, np.int64))] * len(vectors)
        depth = k if rules.best_only else max(_CANDIDATES * k, _LEAST)
        left = list(range(len(vectors)))
        while left:
            short: list[int] = []
            for fetch, rows in _by_fetch(left, hidden, depth).items():
                near = self.index.search(vectors[rows], fetch, allowed)
                for row, scores, positions in zip(rows, near.scores, near.positions, strict=True):
                    candidates = self._shown(Ranked(positions, scores), hidden[row]).first(depth)
                    candidates = self._boosted(candidates, vectors[row], boosts, hidden[row])
                    chosen = select(candidates, k, rules, self.catalogue.values, self.index.vectors)
                    found[row] = Hits(chosen.positions, chosen.scores)
                    if chosen.positions.size < k and positions.size == fetch:
                        short.append(row)
            left, depth = short, 4 * depth
        return found

    def popular(self, k: int, hidden: frozenset[int], rules: Rules) -> Hits:
        """The K most popular rows under the same rules; but diversity, which asks for a score, is left out.

        Raises:
            InvalidData: as `nearest`.
        """
        allowed = self._allowed(rules)
        positions = self.catalogue.popular
        positions = positions if allowed is None else positions[allowed[positions]]
        candidates = self._shown(Ranked(positions, np.zeros(positions.size, np.float32)), hidden)
        plain = replace(rules, diversity=0.0)
        return Hits(select(candidates, k, plain, self.catalogue.values, self.index.vectors).positions)

    def _allowed(self, rules: Rules) -> NDArray[np.bool_] | None:
        """Rows that may match at all: [M]; None where all may."""
        for column in rules.most_per:
            if column not in self.catalogue.columns:
                known = ", ".join(self.catalogue.columns)
                raise InvalidData(f"no such column; there is: {known}", field=column)
        allowed = None if rules.where is None else self.catalogue.allowed(rules.where)
        excluded = self._rows(rules.exclude)
        if not excluded.size:
            return allowed
        kept = np.ones(len(self.catalogue), bool) if allowed is None else allowed.copy()
        kept[excluded] = False
        return kept

    def _boosts(self, rules: Rules, allowed: NDArray[np.bool_] | None) -> Ranked:
        """Boosted rows that may match, and by how much."""
        positions = self.catalogue.find(rules.boost) if rules.boost else {}
        named = ((row, rules.boost[name]) for name, row in positions.items())
        known = sorted((row, boost) for row, boost in named if allowed is None or allowed[row])
        rows, boosts = (
            np.array([row for row, _ in known], np.int64),
            np.array([boost for _, boost in known], np.float32),
        )
        return Ranked(rows, boosts)

    def _boosted(self, found: Ranked, query: FloatArray, boosts: Ranked, hidden: frozenset[int]) -> Ranked:
        """The candidates with what is added to their scores; a boosted row is one even if it was not near enough."""
        shown = self._shown(boosts, hidden)
        if not shown.positions.size:
            return found
        others = ~np.isin(found.positions, shown.positions)
        scores = self.index.scores(query, shown.positions) + shown.scores
        positions = np.concatenate([found.positions[others], shown.positions])
        return Ranked(positions, np.concatenate([found.scores[others], scores])).by_score()

    def _shown(self, found: Ranked, hidden: frozenset[int]) -> Ranked:
        kept = ~np.isin(found.positions, list(hidden))
        return Ranked(found.positions[kept], found.scores[kept])

    def _rows(self, product_ids: Iterable[str]) -> IntArray:
        return np.array(list(self.catalogue.find(product_ids).values()), np.int64)
