"""Where searching and ranking happen: from vectors, or from popularity, to the products that match under rules.

Candidates are the nearest vectors, the products that a source names with a bonus, and those that a rule boosts. They
are ranked by one score: cosine + bonus + boost.

Letters: B queries, C candidates, K matches, M products, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index

import numpy as np

from indexer.catalogue.catalogue import Catalogue
from indexer.index.selection import Selection
from indexer.index.vector_index import VectorIndex
from indexer.search.bound_rules import BoundRules, RulesCache, rules_key
from indexer.search.candidate_source import MAX_NAMED, NO_BONUSES, Bonuses
from indexer.search.ranking import Ranked, Rules, num_candidates
from indexer.search.reranker import Reranker
from ubm_embed.data.arrays import FloatArray

# The number of hidden products is rounded up to these, so that few searches serve a whole batch.
_HIDDEN_STEP = 8
# How often the next candidates are searched for where caps leave too few, before all products are scored.
_MAX_ROUNDS = 8
_POPULAR_AT_ONCE = 1_024
# With more bonuses, as common words give them, more of the nearest are looked at: products between those with the
# largest bonuses and the nearest may be better than both. What shoppers did next gives fewer.
_MANY_BONUSES = 8 * MAX_NAMED
_NO_RULES = rules_key(Rules())


@dataclass(frozen=True, slots=True)
class Hits:
    """Positions and scores of one answer, best first; None for what popularity chose."""

    positions: Sequence[int] = ()
    scores: Sequence[float | None] = ()


class Matcher:
    """Finds the products of one version that match under a shop's rules. Several threads may ask at once."""

    def __init__(self, index: VectorIndex, catalogue: Catalogue) -> None:
        self.index = index
        self.catalogue = catalogue
        self._rules = RulesCache(catalogue, index.vectors)

    def nearest(
        self,
        vectors: FloatArray,
        k: int,
        hidden: Sequence[frozenset[int]],
        rules: Rules,
        bonuses: Sequence[Bonuses] | None = None,
    ) -> list[Hits]:
        """The K best products for each vector, without those that are hidden from it.

        K match whenever K products may, however few these are of all.

        Args:
            vectors: [B, D], of length 1.
            hidden: positions, for each vector.
            bonuses: what is added to cosines, for each vector. The products that may match and have the largest ones,
                `MAX_NAMED` of them, are ranked in any case; others only if they are near.

        Raises:
            InvalidData: the rules name a column that is not there, or their condition is invalid.
        """
        bound = self._rules.bind(rules)
        k = min(index(k), bound.max_matches)  # FAISS takes no integers of numpy
        if not k:
            return [Hits()] * len(vectors)
        looks_further = bound.caps or rules.diversity or any(len(one) > _MANY_BONUSES for one in bonuses or ())
        count = num_candidates(k) if looks_further else k
        candidates = self._candidates(vectors, count, hidden, bound.searched)
        takes_best = not bound.caps and not rules.diversity
        raised = [
            self._raised(
                vectors[row], hidden[row], bound, bonuses[row] if bonuses else NO_BONUSES, k if takes_best else None
            )
            for row in range(len(vectors))
        ]
        if takes_best:
            return [_best(near, some, k) for near, some in zip(candidates, raised, strict=True)]
        rerankers = [Reranker(k, bound.caps, rules.diversity, self.index.vectors) for _ in candidates]
        for row, reranker in enumerate(rerankers):
            self._rerank(reranker, vectors[row], candidates[row], count, hidden[row], bound, raised[row])
        return [_hits(one, by_score=not rules.diversity) for one in rerankers]

    def has_compiled(self, rules: Rules) -> bool:
        """Whether rules are compiled, so that they cost a search and nothing else."""
        return rules in self._rules or rules_key(rules) == _NO_RULES

    def compile_as(self, before: Matcher, seconds: float) -> None:
        """Compile the rules that requests used lately with another matcher, for as long as there is time."""
        self._rules.bind_recent(before._rules, seconds)

    def popular(self, k: int, hidden: frozenset[int], rules: Rules, bonuses: Bonuses = NO_BONUSES) -> Hits:
        """K products under the same rules, except boosts and diversity: those with a bonus, then the most popular.

        Raises:
            InvalidData: as `nearest`.
        """
        bound = self._rules.bind(rules)
        chosen = Reranker(min(k, bound.max_matches), bound.caps)
        if bound.allowed is not None:
            bonuses = bonuses.where(bound.allowed.mask[bonuses.positions])
        chosen.add(Ranked(bonuses.positions, bonuses.values).without(hidden).in_order())
        scores, hidden = [*chosen.scores], hidden.union(chosen.positions)
        positions = self.catalogue.popular
        for first in range(0, positions.size, _POPULAR_AT_ONCE):
            if chosen.is_full:
                break
            block = positions[first : first + _POPULAR_AT_ONCE]
            block = block if bound.allowed is None else block[bound.allowed.mask[block]]
            chosen.add(Ranked(block, np.zeros(block.size, np.float32)).without(hidden))
        return Hits(chosen.positions, [*scores, *[None] * (len(chosen.positions) - len(scores))])

    def _candidates(
        self, vectors: FloatArray, count: int, hidden: Sequence[frozenset[int]], allowed: Selection | None
    ) -> list[Ranked]:
        """The nearest C of each query that are not hidden from it; fewer only if there are no more."""
        candidates: dict[int, Ranked] = {}
        for fetched, rows in _by_fetched(count, hidden).items():
            near = self.index.search(vectors if len(rows) == len(vectors) else vectors[rows], fetched, allowed)
            for row, scores, positions in zip(rows, near.scores, near.positions, strict=True):
                visible = Ranked(positions, scores).without(hidden[row])
                if len(visible) < count and positions.size == fetched:
                    again = self.index.search(vectors[row : row + 1], count + len(hidden[row]), allowed)
                    visible = Ranked(again.positions[0], again.scores[0]).without(hidden[row])
                candidates[row] = visible.part(0, count)
        return [candidates[row] for row in range(len(vectors))]

    def _raised(
        self, query: FloatArray, hidden: frozenset[int], bound: BoundRules, bonuses: Bonuses, count: int | None
    ) -> _Raised:
        """The products with a bonus or a boost that may match one query.

        Args:
            count: how many of them an answer can take at most; None for all.
        """
        if not len(bonuses):
            return _Raised(bound.boosted(query).without(hidden).in_order(), NO_BONUSES)
        if bound.allowed is not None:
            bonuses = bonuses.where(bound.allowed.mask[bonuses.positions])
        bonuses = bonuses.without(hidden)
        boosted = bound.boosted(query).without(hidden)
        boosted = Ranked(boosted.positions, boosted.scores + bonuses.at(boosted.positions))
        named = bonuses.largest(MAX_NAMED).without(boosted.positions.tolist())
        # In float32, which ranks sums well enough; row by row, so that a batch changes nothing.
        cosines: FloatArray = np.vecdot(self.index.vectors(named.positions), query)
        scores = cosines + named.values
        ranked = Ranked(named.positions, scores).with_others(boosted)
        return _Raised(ranked.in_order() if count is None else ranked.best(count), named, bonuses)

    def _rerank(
        self,
        chosen: Reranker,
        query: FloatArray,
        candidates: Ranked,
        count: int,
        hidden: frozenset[int],
        bound: BoundRules,
        raised: _Raised,
    ) -> None:
        """Choose among the first C candidates of one query, and among the next ones while caps leave too few.

        The next ones are searched for among products whose values still have room, so that each search finds matches,
        however many products share a value. If that takes too many searches, all products that are left are scored.

        Args:
            candidates: the nearest C that are neither hidden nor boosted; fewer only if there are no more.
        """
        above, left = raised.ranked, bound.searched
        for round_ in range(_MAX_ROUNDS):
            if round_:
                candidates = self._candidates(query[None], count, [frozenset()], left)[0]
            pool, is_last = raised.others(candidates).merged(above), len(candidates) < count
            # In parts even if there are no more: diversity compares all of a part with one another.
            for first in range(0, len(pool) if is_last else count, count):
                chosen.add(pool.part(first, first + count))
            if is_last or chosen.is_full:
                return
            looked_at = pool.part(0, count).positions
            above = above.where(~np.isin(above.positions, looked_at))
            left = self._left(left, chosen, hidden.union(looked_at.tolist()))
        for part in self.index.search_all(query, left):
            if chosen.is_full:
                return
            candidates = Ranked(part.positions[0], part.scores[0])
            ahead = above.ahead_of_last(candidates)
            chosen.add_in_order(raised.others(candidates).merged(above.where(ahead)))
            above = above.where(~ahead)
        chosen.add_in_order(above)

    def _left(self, selection: Selection | None, chosen: Reranker, out: frozenset[int]) -> Selection:
        """The selected products that the caps have room for, without those that are out."""
        mask = np.ones(len(self.index), bool) if selection is None else selection.mask.copy()
        chosen.drop_full(mask)
        mask[list(out)] = False
        return Selection(mask)


@dataclass(frozen=True, slots=True)
class _Raised:
    """The products of one query whose score is not their cosine alone.

    Attributes:
        ranked: all of them that an answer can take, with their scores.
        named: those that the search of the vectors finds, too, with the bonus that it does not know.
        bonuses: of these and of all others.
    """

    ranked: Ranked
    named: Bonuses
    bonuses: Bonuses = NO_BONUSES

    def others(self, near: Ranked) -> Ranked:
        """What a search found besides these.

        No bonus is below 0: of the products that are left, none is better than those that are found and these, unless
        more of them have a bonus than are ranked.
        """
        if not len(self.named):
            return near
        others = near.where(~self.named.names(near.positions))
        if len(self.bonuses) <= MAX_NAMED:
            return others
        return Ranked(others.positions, others.scores + self.bonuses.at(others.positions)).in_order()


def _best(near: Ranked, raised: _Raised, k: int) -> Hits:
    best = raised.others(near).merged(raised.ranked).part(0, k)
    return Hits(best.positions.tolist(), best.scores.tolist())


def _hits(chosen: Reranker, *, by_score: bool) -> Hits:
    """What was taken, in the order of the answer: a later search looks further, and may find better ones."""
    taken = zip(chosen.positions, chosen.scores, strict=True)
    ranked = sorted(taken, key=lambda one: (-one[1], one[0])) if by_score else list(taken)
    return Hits([position for position, _ in ranked], [score for _, score in ranked])


def _by_fetched(count: int, hidden: Sequence[frozenset[int]]) -> dict[int, list[int]]:
    """Queries by the number of products to fetch, of which C should not be hidden.

    At most C more than these are fetched: of many hidden products few are near, and where they are, a second search
    follows. The same query fetches the same number alone and in a batch.
    """
    grouped: dict[int, list[int]] = {}
    for row, positions in enumerate(hidden):
        steps = -(-min(len(positions), count) // _HIDDEN_STEP)
        grouped.setdefault(count + steps * _HIDDEN_STEP, []).append(row)
    return grouped
