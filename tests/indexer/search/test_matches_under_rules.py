"""Matches under rules of all kinds at once, and under caps that the nearest products use up."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.index.backend import Neighbours
from indexer.index.selection import Selection
from indexer.index.vector_index import VectorIndex
from indexer.search.candidate_source import Bonuses
from indexer.search.matcher import Matcher
from indexer.search.ranking import Rules
from tests.indexer.search.toy_matcher import NOTHING, CountingIndex, unit

FEW = 30
FEW_VECTORS = unit(FEW, 11)
FEW_ROWS = np.arange(FEW)
FEW_FRAME = pl.DataFrame(
    {
        "product_id": [f"p{row}" for row in FEW_ROWS],
        "brand": [None if row % 4 == 3 else f"b{row % 4}" for row in FEW_ROWS],
        "shape": [[row % 3, row % 2] for row in FEW_ROWS],
        "price": FEW_ROWS,
        "popularity": FEW_ROWS % 7,
    }
)
COLUMNS = FEW_FRAME.to_dict(as_series=False)


@pytest.fixture(scope="module")
def few() -> Matcher:
    return Matcher(VectorIndex.build([FEW_VECTORS]), MappedCatalogue.from_table(FEW_FRAME.to_arrow()))


ids = st.sampled_from(FEW_FRAME["product_id"].to_list())
some_rules = st.builds(
    Rules,
    where=st.none() | st.integers(0, FEW).map(lambda price: f"price < {price}"),
    exclude=st.frozensets(ids, max_size=10),
    boost=st.dictionaries(ids, st.floats(-2, 2, width=32), max_size=8),
    max_per=st.dictionaries(st.sampled_from(["brand", "shape"]), st.integers(1, 4)),
)


def slow(rules: Rules, order: list[int], hidden: frozenset[int], k: int) -> list[int]:
    """The obvious way: all products in their order, each looked at once."""
    limit = FEW if rules.where is None else int(rules.where.removeprefix("price < "))
    taken: list[int] = []
    for row in order:
        out = row in hidden or row >= limit or f"p{row}" in rules.exclude
        full = any(
            COLUMNS[column][row] is not None
            and sum(COLUMNS[column][other] == COLUMNS[column][row] for other in taken) >= cap
            for column, cap in rules.max_per.items()
        )
        taken += [] if out or full or len(taken) >= k else [row]
    return taken


def bonuses_of(values: dict[int, float]) -> Bonuses:
    positions = sorted(values)
    return Bonuses(np.array(positions, np.int64), np.array([values[row] for row in positions], np.float32))


some_bonuses = st.dictionaries(st.integers(0, FEW - 1), st.floats(0.125, 2, width=32), max_size=15)


@settings(max_examples=60)
@given(
    some_rules,
    st.frozensets(st.integers(0, FEW - 1), max_size=12),
    st.integers(1, FEW + 5),
    st.integers(0, 5),
    some_bonuses,
)
def test_matches_are_those_of_the_slow_obvious_way(
    few: Matcher, rules: Rules, hidden: frozenset[int], k: int, seed: int, bonuses: dict[int, float]
) -> None:
    query = unit(1, seed)
    scores = few.index.scores(query[0], FEW_ROWS)
    scores += np.array([rules.boost.get(f"p{row}", 0.0) + bonuses.get(row, 0.0) for row in FEW_ROWS], np.float32)
    (hits,) = few.nearest(query, k, [hidden], rules, [bonuses_of(bonuses)])
    expected = slow(rules, np.lexsort((FEW_ROWS, -scores)).tolist(), hidden, k)
    assert list(hits.positions) == expected
    assert list(hits.scores or ()) == pytest.approx(scores[expected].tolist(), abs=1e-5)
    by_popularity: list[int] = few.catalogue.popular.tolist()
    assert list(few.popular(k, hidden, rules).positions) == slow(rules, by_popularity, hidden, k)


def test_a_demotion_lets_the_next_product_up(few: Matcher) -> None:
    query = unit(1, 1)
    first, second, third = few.nearest(query, 3, NOTHING, Rules())[0].positions
    (hits,) = few.nearest(query, 2, NOTHING, Rules(boost={f"p{first}": -2.0}))
    assert list(hits.positions) == [second, third]


def test_what_only_a_wider_search_finds_takes_its_place_in_the_order(few: Matcher) -> None:
    class Narrow(VectorIndex):
        """Does not find the nearest of all products."""

        def search(self, queries: np.ndarray, k: int, allowed: Selection | None = None) -> Neighbours:
            near = super().search(queries, k + 1, allowed)
            return near if allowed is not None else Neighbours(near.scores[:, 1:], near.positions[:, 1:])

    matcher, k, rules = (
        Matcher(Narrow(few.index.backend, few.index.spec), few.catalogue),
        7,
        Rules(max_per={"brand": 2}),
    )
    (hits,) = matcher.nearest(unit(1, 1), k, NOTHING, rules)
    assert hits.scores is not None
    assert list(hits.scores) == sorted(hits.scores, reverse=True)


BRANDS, EACH = 20, 300


class TestTightCaps:
    """A brand has many products that lie together, so that the nearest are all of one brand."""

    @pytest.fixture
    def vectors(self) -> np.ndarray:
        vectors = np.repeat(unit(BRANDS, 1), EACH, axis=0) + 0.05 * unit(BRANDS * EACH, 2)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    @pytest.fixture
    def matcher(self, vectors: np.ndarray) -> Matcher:
        rows = np.arange(len(vectors))
        frame = pl.DataFrame({"product_id": [f"p{row}" for row in rows], "brand": rows // EACH, "popularity": rows})
        catalogue = MappedCatalogue.from_table(frame.to_arrow())
        return Matcher(CountingIndex(VectorIndex.build([vectors])), catalogue)

    @pytest.mark.parametrize("raised", ["by nothing", "by boosts", "by bonuses", "by both"])
    @pytest.mark.parametrize("k", [3, 8, 20, 50])
    def test_are_met_in_a_bounded_number_of_searches(
        self, matcher: Matcher, vectors: np.ndarray, k: int, raised: str
    ) -> None:
        query, boosts, bonuses = unit(1, 3)[0], np.zeros(len(vectors), np.float32), np.zeros(len(vectors), np.float32)
        rows = np.random.default_rng(0).choice(len(vectors) - 1, 40, replace=False)
        if raised in ("by boosts", "by both"):
            boosts[rows] = np.linspace(-1, 0.5, 40)
        if raised in ("by bonuses", "by both"):
            bonuses[rows[20:] + 1] = np.linspace(0.1, 0.8, 20)
            bonuses[rows[:5]] = 0.3
        rules = Rules(max_per={"brand": 1}, boost={f"p{row}": float(boosts[row]) for row in np.flatnonzero(boosts)})
        named = Bonuses(np.flatnonzero(bonuses), bonuses[bonuses > 0])
        (hits,) = matcher.nearest(query[None], k, NOTHING, rules, [named])
        scores = (vectors @ query + boosts + bonuses).reshape(BRANDS, EACH)
        best_of_each = np.arange(BRANDS) * EACH + scores.argmax(axis=1)
        assert list(hits.positions) == best_of_each[np.argsort(-scores.max(axis=1))][:k].tolist()
        assert isinstance(matcher.index, CountingIndex)
        assert len(matcher.index.searches) <= 8
        assert matcher.index.passes == (k > 8) or raised in ("by bonuses", "by both"), "over all products, once at most"
        assert matcher.index.passes <= 1

    def test_diversity_goes_on_where_caps_leave_too_few(self, matcher: Matcher) -> None:
        (hits,) = matcher.nearest(unit(1, 3), 20, NOTHING, Rules(max_per={"brand": 1}, diversity=0.5))
        assert sorted(row // EACH for row in hits.positions) == list(range(BRANDS))

    def test_the_popular_are_looked_at_once(self, matcher: Matcher) -> None:
        hits = matcher.popular(BRANDS, frozenset(), Rules(max_per={"brand": 1}))
        assert list(hits.positions) == [brand * EACH + EACH - 1 for brand in reversed(range(BRANDS))]
