"""What is left out, pushed and kept apart, against the slow obvious way."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.search.ranking import Ranked, Rules, select

FRAME = pl.DataFrame({"brand": ["a", "a", "a", "b", None, None, "c"], "price": [1, 2, 3, 1, 1, 1, 1]})


def unit(rows: list[list[float]]) -> np.ndarray:
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def ranked(scores: list[float]) -> Ranked:
    return Ranked(np.arange(len(scores)), np.array(scores, np.float32)).by_score()


def chosen(candidates: Ranked, k: int, rules: Rules, vectors: np.ndarray | None = None) -> list[int]:
    def vectors_of(positions: np.ndarray) -> np.ndarray:
        assert vectors is not None, "vectors are needed for diversity only"
        return vectors[positions]

    def values_of(column: str, positions: np.ndarray) -> list[object]:
        return FRAME[column].gather(positions).to_list()

    return select(candidates, k, rules, values_of, vectors_of).positions.tolist()


def test_without_rules_the_best_are_taken() -> None:
    assert chosen(ranked([0.1, 0.9, 0.5, 0.7]), 3, Rules()) == [1, 3, 2]


def test_equal_scores_are_ordered_by_position() -> None:
    assert ranked([0.5, 0.9, 0.5, 0.9]).positions.tolist() == [1, 3, 0, 2]


def test_a_cap_on_brands_does_not_count_products_without_one() -> None:
    candidates = ranked([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    assert chosen(candidates, 7, Rules(max_per={"brand": 1})) == [0, 3, 4, 5, 6]
    assert chosen(candidates, 7, Rules(max_per={"brand": 2})) == [0, 1, 3, 4, 5, 6]
    assert chosen(candidates, 7, Rules(max_per={"brand": 2, "price": 1})) == [0, 1]


@given(
    st.lists(st.tuples(*[st.floats(-1, 1, width=32)] * 3), min_size=1, max_size=7),
    st.integers(1, 8),
    st.sampled_from([0.1, 0.5, 0.9, 1.0]),
)
def test_diversity_is_maximal_marginal_relevance(rows: list[list[float]], k: int, diversity: float) -> None:
    vectors = unit([[*row[:2], row[2] + 2] for row in rows])
    query = unit([[0.3, -0.2, 1.0]])[0]
    candidates = Ranked(np.arange(len(rows)), vectors @ query).by_score()
    taken: list[int] = []
    while len(taken) < min(k, len(rows)):
        worths = {}
        for row in candidates.positions.tolist():
            if row not in taken:
                alike = max((float(vectors[row] @ vectors[other]) for other in taken), default=0.0)
                worths[row] = (1 - diversity) * float(vectors[row] @ query) - diversity * alike
        best = max(worths.values())
        taken.append(chosen(candidates, k, Rules(diversity=diversity), vectors)[len(taken)])
        assert worths[taken[-1]] == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"diversity": 1.5}, "diversity must be at most 1"),
        ({"diversity": float("nan")}, "diversity must be"),
        ({"max_per": {"brand": 0}}, "max_per.brand must be at least 1, got 0"),
        ({"boost": {"p1": float("inf")}}, "boost.p1 must be a finite number"),
    ],
)
def test_rules_that_make_no_sense_are_refused(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Rules(**values)
