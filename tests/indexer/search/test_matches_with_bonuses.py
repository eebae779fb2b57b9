"""Matches of products with bonuses are the best ones of all products, scored one by one."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.index.vector_index import VectorIndex
from indexer.search import matcher as matcher_module
from indexer.search.candidate_source import Bonuses
from indexer.search.matcher import Matcher
from indexer.search.ranking import Rules
from tests.indexer.search.toy_matcher import WIDTH, unit

COUNT = 40


def halves(count: int, seed: int) -> np.ndarray:
    """Vectors of length 1 whose inner products are quarters: sums are exact, and many of them equal."""
    random, vectors = np.random.default_rng(seed), np.zeros((count, WIDTH), np.float32)
    for vector in vectors:
        vector[random.choice(8, 4, replace=False)] = random.choice([-0.5, 0.5], 4)
    return vectors


VECTORS, QUERY = halves(COUNT, 0), halves(1, 1)


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    frame = pl.DataFrame({"product_id": [f"p{row}" for row in range(COUNT)], "popularity": [0] * COUNT})
    return Matcher(VectorIndex.build([VECTORS]), MappedCatalogue.from_table(frame.to_arrow()))


rows = st.integers(0, COUNT - 1)


@given(
    st.dictionaries(rows, st.integers(1, 8)),
    st.dictionaries(rows, st.integers(-4, 4), max_size=4),
    st.frozensets(rows, max_size=5),
    st.integers(1, COUNT + 3),
)
@settings(deadline=None)
def test_the_best_of_all_match(
    matcher: Matcher, named: dict[int, int], boosts: dict[int, int], hidden: frozenset[int], k: int
) -> None:
    bonuses = Bonuses(np.array(sorted(named), np.int64), np.array([named[row] / 8 for row in sorted(named)], "f4"))
    scores = VECTORS @ QUERY[0]
    for row, bonus in [*named.items(), *boosts.items()]:
        scores[row] += bonus / 8
    expected = sorted(set(range(COUNT)) - hidden, key=lambda row: (-scores[row], row))[:k]
    rules = Rules(boost={f"p{row}": boost / 8 for row, boost in boosts.items()})
    (hits,) = matcher.nearest(QUERY, k, [hidden], rules, [bonuses])
    assert list(hits.positions) == expected
    assert list(hits.scores) == scores[expected].tolist()


def test_of_many_bonuses_the_largest_are_ranked_and_near_products_have_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matcher_module, "MAX_NAMED", 3)
    vectors, query = unit(COUNT, 2), unit(1, 3)
    frame = pl.DataFrame({"product_id": [f"p{row}" for row in range(COUNT)], "popularity": [0] * COUNT})
    toy = Matcher(VectorIndex.build([vectors]), MappedCatalogue.from_table(frame.to_arrow()))
    values = np.random.default_rng(4).uniform(0.01, 0.3, COUNT).astype(np.float32)
    cosines = vectors @ query[0]
    candidates = {*np.argsort(-cosines)[:5].tolist(), *np.argsort(-values)[:3].tolist()}
    expected = sorted(candidates, key=lambda row: -(cosines + values)[row])[:5]
    (hits,) = toy.nearest(query, 5, [frozenset()], Rules(), [Bonuses(np.arange(COUNT), values)])
    assert list(hits.positions) == expected
    assert list(hits.scores) == pytest.approx((cosines + values)[expected], abs=1e-6)
