"""Matches under rules, against numpy, until K are found; and what finding them costs."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.index.kinds import kind_from_name
from indexer.index.vector_index import VectorIndex
from indexer.search.matcher import Hits, Matcher
from indexer.search.ranking import Rules
from tests.indexer.search.toy_matcher import NOTHING, CountingIndex, best, unit
from ubm_embed.errors import InvalidData

COUNT = 6000


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return unit(COUNT, 0)


@pytest.fixture(scope="module")
def matcher(vectors: np.ndarray) -> Matcher:
    """Products 0 to 5,999, whose brand is their last digit and whose popularity and price are their number."""
    rows = np.arange(COUNT)
    frame = pl.DataFrame(
        {"product_id": [f"p{row}" for row in rows], "brand": rows % 10, "price": rows, "popularity": rows}
    )
    return Matcher(VectorIndex.build([vectors]), MappedCatalogue.from_table(frame.to_arrow()))


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("price >= 0", np.arange(COUNT)),
        ("price < 5000", np.arange(5000)),
        ("price % 500 = 7", np.arange(7, COUNT, 500)),
        ("price = 4321", np.array([4321])),
        ("price < 0", np.array([], np.int64)),
    ],
)
def test_k_products_match_whenever_k_satisfy_a_condition(
    matcher: Matcher, vectors: np.ndarray, where: str, rows: np.ndarray
) -> None:
    for query in unit(3, 1):
        (hits,) = matcher.nearest(query[None], 10, NOTHING, Rules(where=where))
        assert list(hits.positions) == best(vectors, query, rows, 10)


def test_k_may_be_an_integer_of_numpy(matcher: Matcher) -> None:
    query = unit(1, 1)
    assert matcher.nearest(query, np.int64(3), NOTHING, Rules()) == matcher.nearest(query, 3, NOTHING, Rules())


def test_hidden_and_excluded_products_do_not_match(matcher: Matcher, vectors: np.ndarray) -> None:
    query = unit(1, 2)
    first = best(vectors, query[0], np.arange(COUNT), 30)
    rules = Rules(exclude=frozenset(f"p{row}" for row in first[10:20]) | {"unknown"})
    (hits,) = matcher.nearest(query, 10, [frozenset(first[:10])], rules)
    assert list(hits.positions) == first[20:30]


def test_a_boosted_product_comes_up_from_anywhere_unless_it_may_not_match(
    matcher: Matcher, vectors: np.ndarray
) -> None:
    query = unit(1, 3)
    last = int(np.argmin(vectors @ query[0]))
    plain = matcher.nearest(query, 3, NOTHING, Rules())[0]
    (hits,) = matcher.nearest(query, 3, NOTHING, Rules(boost={f"p{last}": 3.0, "unknown": 1.0}))
    assert list(hits.positions) == [last, *plain.positions[:2]]
    assert hits.scores is not None
    assert hits.scores[0] == pytest.approx(float(vectors[last] @ query[0]) + 3, abs=1e-6)
    (hidden,) = matcher.nearest(query, 3, [frozenset({last})], Rules(boost={f"p{last}": 3.0}))
    assert hidden.positions == plain.positions
    (filtered,) = matcher.nearest(query, 3, NOTHING, Rules(boost={f"p{last}": 3.0}, where=f"price <> {last}"))
    assert filtered.positions == plain.positions
    # One that is near already is there once.
    near = int(plain.positions[1])
    (pushed,) = matcher.nearest(query, 3, NOTHING, Rules(boost={f"p{near}": 1.0}))
    assert pushed.positions == [near, *(row for row in plain.positions if row != near)]


def test_a_cap_considers_as_many_candidates_as_it_must(matcher: Matcher, vectors: np.ndarray) -> None:
    # There are only brands 0 to 9: ten matches with one each, the last of them far away.
    query = unit(1, 4)
    (hits,) = matcher.nearest(query, 10, NOTHING, Rules(max_per={"brand": 1}))
    expected = sorted(
        (best(vectors, query[0], np.arange(brand, COUNT, 10), 1)[0] for brand in range(10)),
        key=lambda row: -float(vectors[row] @ query[0]),
    )
    assert list(hits.positions) == expected
    (all_of_them,) = matcher.nearest(query, 30, NOTHING, Rules(max_per={"brand": 2}))
    assert len(all_of_them.positions) == 20


def test_many_are_answered_as_each_alone(matcher: Matcher) -> None:
    queries, hidden = unit(5, 5), [frozenset({row}) for row in range(5)]
    for rules in (Rules(), Rules(where="price > 100"), Rules(diversity=0.5), Rules(max_per={"brand": 1})):
        together = matcher.nearest(queries, 7, hidden, rules)
        for row in range(5):
            (alone,) = matcher.nearest(queries[row : row + 1], 7, hidden[row : row + 1], rules)
            assert alone.positions == together[row].positions


@pytest.mark.parametrize("kind", ["flat", "ivf-fp16", "hnsw"])
@pytest.mark.parametrize("rules", [Rules(), Rules(diversity=0.4), Rules(max_per={"brand": 2})])
def test_the_rest_of_a_batch_changes_nothing(matcher: Matcher, vectors: np.ndarray, kind: str, rules: Rules) -> None:
    index = VectorIndex.build([vectors], kind=kind_from_name(kind), expected=COUNT).with_search_value(8)
    approximate = Matcher(index, matcher.catalogue)
    queries, hidden = unit(3, 8), [frozenset[int](), frozenset({1, 2, 3}), frozenset(range(500))]
    together = approximate.nearest(queries, 10, hidden, rules)
    for query, out, hits in zip(queries, hidden, together, strict=True):
        (alone,) = approximate.nearest(query[None], 10, [out], rules)
        assert list(hits.positions) == alone.positions


def test_a_cap_may_be_on_lists_and_structs() -> None:
    frame = pl.DataFrame(
        {
            "product_id": [f"p{row}" for row in range(9)],
            "tags": [[row % 3, 7] for row in range(9)],
            "maker": [{"name": str(row % 3)} for row in range(9)],
            "popularity": range(9),
        }
    )
    small = Matcher(VectorIndex.build([unit(9, 1)]), MappedCatalogue.from_table(frame.to_arrow()))
    for column in ("tags", "maker"):
        (hits,) = small.nearest(unit(1, 2), 9, NOTHING, Rules(max_per={column: 1}))
        assert sorted(row % 3 for row in list(hits.positions)) == [0, 1, 2]


def test_the_most_popular_answer_under_the_same_rules(matcher: Matcher) -> None:
    rules = Rules(where="price < 50", exclude=frozenset({"p48"}), max_per={"brand": 1}, diversity=0.5)
    assert matcher.popular(3, frozenset({49}), rules).positions == [47, 46, 45]
    assert matcher.popular(3, frozenset(), rules).scores == [None] * 3
    assert matcher.popular(100, frozenset(), Rules(where="price < 5")).positions == [4, 3, 2, 1]


def test_an_unknown_column_is_named(matcher: Matcher) -> None:
    with pytest.raises(InvalidData, match=r"'max_per.colour': no such column; there is: product_id, brand"):
        matcher.nearest(unit(1, 0), 3, NOTHING, Rules(max_per={"colour": 1}))


class TestCost:
    """How many candidates are ranked for ten matches."""

    @pytest.fixture
    def counted(self, matcher: Matcher) -> Matcher:
        return Matcher(CountingIndex(matcher.index), matcher.catalogue)

    def index(self, matcher: Matcher) -> CountingIndex:
        assert isinstance(matcher.index, CountingIndex)
        return matcher.index

    def test_the_best_ten_take_ten_candidates(self, counted: Matcher) -> None:
        counted.nearest(unit(1, 1), 10, NOTHING, Rules(where="price > 100"))
        assert self.index(counted).searches == [(1, 10)]

    @pytest.mark.parametrize(("hidden", "candidates"), [(1, 18), (8, 18), (9, 26)])
    def test_hidden_products_are_fetched_too_in_steps_of_eight(
        self, counted: Matcher, hidden: int, candidates: int
    ) -> None:
        counted.nearest(unit(1, 1), 10, [frozenset(range(hidden))], Rules())
        assert self.index(counted).searches == [(1, candidates)]

    def test_many_hidden_products_are_fetched_only_if_they_are_near(
        self, counted: Matcher, vectors: np.ndarray
    ) -> None:
        query = unit(1, 1)
        nearest = best(vectors, query[0], np.arange(COUNT), COUNT)
        counted.nearest(query, 10, [frozenset(nearest[-1000:])], Rules())
        assert self.index(counted).searches == [(1, 26)]
        (hits,) = counted.nearest(query, 10, [frozenset(nearest[:1000])], Rules())
        assert self.index(counted).searches[1:] == [(1, 26), (1, 1010)]
        assert list(hits.positions) == nearest[1000:1010]

    def test_a_batch_takes_one_search_for_each_number_of_candidates(self, counted: Matcher) -> None:
        hidden = [frozenset(range(count)) for count in (0, 3, 8, 0, 12)]
        counted.nearest(unit(5, 1), 10, hidden, Rules())
        assert self.index(counted).searches == [(2, 10), (2, 18), (1, 26)]

    def test_diversity_reads_the_vectors_of_a_hundred_candidates(self, counted: Matcher) -> None:
        counted.nearest(unit(1, 1), 10, NOTHING, Rules(diversity=0.5))
        assert self.index(counted).searches == [(1, 100)]
        assert self.index(counted).vectors_read <= 100 + 20, "a few more only where scores lie within rounding"

    def test_a_search_stops_at_the_matches_that_caps_allow(self, counted: Matcher) -> None:
        (hits,) = counted.nearest(unit(1, 1), 30, NOTHING, Rules(max_per={"brand": 2}))
        assert len(hits.positions) == 20
        assert self.index(counted).searches == [(1, 200)], "of ten brands with two each"

    def test_nothing_is_searched_for_if_nothing_may_match(self, counted: Matcher) -> None:
        assert counted.nearest(unit(1, 1), 10, NOTHING, Rules(where="price < 0")) == [Hits(scores=())]
        assert self.index(counted).searches == []

    def test_popular_products_are_not_searched_for(self, counted: Matcher) -> None:
        counted.popular(10, frozenset(range(5)), Rules(where="price > 100", diversity=0.5))
        assert (self.index(counted).searches, self.index(counted).vectors_read) == ([], 0)
