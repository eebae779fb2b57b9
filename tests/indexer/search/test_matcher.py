"""Searched and ranked in one place: against numpy, under rules, until K are found."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from indexer.index.kinds import kind_of
from indexer.index.vector_index import VectorIndex
from indexer.search.catalogue import CatalogueInMemory
from indexer.search.matcher import Matcher
from indexer.search.ranking import Rules
from ubm_embed.errors import InvalidData

COUNT, WIDTH = 6000, 16
NOTHING: list[frozenset[int]] = [frozenset()]


def unit(count: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, WIDTH))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return unit(COUNT, 0)


@pytest.fixture(scope="module")
def matcher(vectors: np.ndarray) -> Matcher:
    """Product 0 to 5,999; every tenth is of brand 0, and so on; popularity is the row."""
    rows = np.arange(COUNT)
    frame = pl.DataFrame(
        {"product_id": [f"p{row}" for row in rows], "brand": rows % 10, "price": rows, "popularity": rows}
    )
    return Matcher(VectorIndex.build([vectors]), CatalogueInMemory(frame))


def best(vectors: np.ndarray, query: np.ndarray, rows: np.ndarray, k: int) -> list[int]:
    """The slow obvious way."""
    order = np.argsort(-(vectors[rows].astype(np.float64) @ query), kind="stable")
    return rows[order[:k]].tolist()


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
        assert hits.positions.tolist() == best(vectors, query, rows, 10)


def test_what_is_hidden_or_excluded_does_not_match(matcher: Matcher, vectors: np.ndarray) -> None:
    query = unit(1, 2)
    first = best(vectors, query[0], np.arange(COUNT), 30)
    rules = Rules(exclude=frozenset(f"p{row}" for row in first[10:20]) | {"unknown"})
    (hits,) = matcher.nearest(query, 10, [frozenset(first[:10])], rules)
    assert hits.positions.tolist() == first[20:30]


def test_a_boosted_product_comes_up_from_anywhere_unless_it_may_not_match(
    matcher: Matcher, vectors: np.ndarray
) -> None:
    query = unit(1, 3)
    last = int(np.argmin(vectors @ query[0]))
    plain = matcher.nearest(query, 3, NOTHING, Rules())[0]
    (hits,) = matcher.nearest(query, 3, NOTHING, Rules(boost={f"p{last}": 3.0, "unknown": 1.0}))
    assert hits.positions.tolist() == [last, *plain.positions[:2].tolist()]
    assert hits.scores is not None
    assert hits.scores[0] == pytest.approx(float(vectors[last] @ query[0]) + 3, abs=1e-6)
    (hidden,) = matcher.nearest(query, 3, [frozenset({last})], Rules(boost={f"p{last}": 3.0}))
    assert hidden.positions.tolist() == plain.positions.tolist()
    (filtered,) = matcher.nearest(query, 3, NOTHING, Rules(boost={f"p{last}": 3.0}, where=f"price <> {last}"))
    assert filtered.positions.tolist() == plain.positions.tolist()
    # One that is near already is there once.
    near = int(plain.positions[1])
    (pushed,) = matcher.nearest(query, 3, NOTHING, Rules(boost={f"p{near}": 1.0}))
    assert pushed.positions.tolist() == [near, *(row for row in plain.positions.tolist() if row != near)]


def test_a_cap_looks_as_far_as_it_must(matcher: Matcher, vectors: np.ndarray) -> None:
    # Only brands 0 to 9 are there: ten matches with one each, the last of them far away.
    query = unit(1, 4)
    (hits,) = matcher.nearest(query, 10, NOTHING, Rules(most_per={"brand": 1}))
    expected = sorted(
        (best(vectors, query[0], np.arange(brand, COUNT, 10), 1)[0] for brand in range(10)),
        key=lambda row: -float(vectors[row] @ query[0]),
    )
    assert hits.positions.tolist() == expected
    (all_there_are,) = matcher.nearest(query, 30, NOTHING, Rules(most_per={"brand": 2}))
    assert all_there_are.positions.size == 20


def test_many_are_answered_as_each_alone(matcher: Matcher) -> None:
    queries, hidden = unit(5, 5), [frozenset({row}) for row in range(5)]
    for rules in (Rules(), Rules(where="price > 100"), Rules(diversity=0.5), Rules(most_per={"brand": 1})):
        together = matcher.nearest(queries, 7, hidden, rules)
        for row in range(5):
            (alone,) = matcher.nearest(queries[row : row + 1], 7, hidden[row : row + 1], rules)
            assert alone.positions.tolist() == together[row].positions.tolist()


@pytest.mark.parametrize("kind", ["flat", "ivf-fp16", "hnsw"])
@pytest.mark.parametrize("rules", [Rules(), Rules(diversity=0.4), Rules(most_per={"brand": 2})])
def test_who_else_is_in_a_batch_changes_nothing(matcher: Matcher, vectors: np.ndarray, kind: str, rules: Rules) -> None:
    index = VectorIndex.build([vectors], kind=kind_of(kind), expected=COUNT).searched(8)
    searched = Matcher(index, matcher.catalogue)
    queries, hidden = unit(3, 8), [frozenset[int](), frozenset({1, 2, 3}), frozenset(range(500))]
    together = searched.nearest(queries, 10, hidden, rules)
    for query, out, hits in zip(queries, hidden, together, strict=True):
        (alone,) = searched.nearest(query[None], 10, [out], rules)
        assert hits.positions.tolist() == alone.positions.tolist()


def test_a_cap_may_be_on_lists_and_structs() -> None:
    frame = pl.DataFrame(
        {
            "product_id": [f"p{row}" for row in range(9)],
            "tags": [[row % 3, 7] for row in range(9)],
            "maker": [{"name": str(row % 3)} for row in range(9)],
            "popularity": range(9),
        }
    )
    small = Matcher(VectorIndex.build([unit(9, 1)]), CatalogueInMemory(frame))
    for column in ("tags", "maker"):
        (hits,) = small.nearest(unit(1, 2), 9, NOTHING, Rules(most_per={column: 1}))
        assert sorted(row % 3 for row in hits.positions.tolist()) == [0, 1, 2]


def test_the_most_popular_answer_under_the_same_rules(matcher: Matcher) -> None:
    rules = Rules(where="price < 50", exclude=frozenset({"p48"}), most_per={"brand": 1}, diversity=0.5)
    assert matcher.popular(3, frozenset({49}), rules).positions.tolist() == [47, 46, 45]
    assert matcher.popular(3, frozenset(), rules).scores is None
    assert matcher.popular(100, frozenset(), Rules(where="price < 5")).positions.tolist() == [4, 3, 2, 1]


def test_a_column_that_is_not_there_is_named(matcher: Matcher) -> None:
    with pytest.raises(InvalidData, match=r"'colour': no such column; there is: product_id, brand"):
        matcher.nearest(unit(1, 0), 3, NOTHING, Rules(most_per={"colour": 1}))
