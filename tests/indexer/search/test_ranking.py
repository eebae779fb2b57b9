"""The order of candidates, and rules that make no sense."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from indexer.search.ranking import Ranked, Rules, num_candidates


def test_equal_scores_are_ordered_by_position() -> None:
    first = Ranked(np.array([1, 3, 0]), np.array([0.9, 0.9, 0.5], np.float32))
    second = Ranked(np.array([4, 2]), np.array([0.9, 0.7], np.float32))
    assert first.merged(second).positions.tolist() == [1, 3, 4, 2, 0]


def test_the_pool_grows_with_k_to_a_limit() -> None:
    assert [num_candidates(k) for k in (1, 10, 30, 1_000, 5_000)] == [100, 100, 300, 2_000, 5_000]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"diversity": 1.5}, "diversity must be at most 1"),
        ({"diversity": float("nan")}, "diversity must be"),
        ({"max_per": {"brand": 0}}, "max_per.brand must be at least 1, got 0"),
        ({"boost": {"p1": float("inf")}}, "boost.p1 must be a finite number"),
        ({"boost": {"p1": 1e39}}, "boost.p1 must be at most 1e\\+06"),
        ({"boost": {"p1": -1e39}}, "boost.p1 must be at least -1e\\+06"),
    ],
)
def test_rules_that_make_no_sense_are_refused(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Rules(**values)
