"""Bonuses of several sources: their sum, and the largest of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from indexer.search.candidate_source import NO_BONUSES, Bonuses, sum_of

some = st.dictionaries(st.integers(0, 20), st.integers(1, 8), max_size=12)


def bonuses(values: dict[int, int]) -> Bonuses:
    return Bonuses(np.array(sorted(values), np.int64), np.array([values[row] for row in sorted(values)], np.float32))


def values(one: Bonuses) -> dict[int, float]:
    return dict(zip(one.positions.tolist(), one.values.tolist(), strict=True))


@given(some, some)
def test_bonuses_of_two_sources_add_up(first: dict[int, int], second: dict[int, int]) -> None:
    both = sum_of([bonuses(first), NO_BONUSES, bonuses(second)])
    assert values(both) == {row: first.get(row, 0) + second.get(row, 0) for row in {*first, *second}}
    assert both.positions.tolist() == sorted({*first, *second})


@given(some, st.integers(0, 15))
def test_the_largest_are_taken_and_of_equal_ones_the_first(named: dict[int, int], count: int) -> None:
    best = sorted(named, key=lambda row: (-named[row], row))[:count]
    assert values(bonuses(named).largest(count)) == {row: named[row] for row in best}


@given(some)
def test_what_is_not_named_has_no_bonus(named: dict[int, int]) -> None:
    rows = np.arange(25)
    assert bonuses(named).at(rows).tolist() == [named.get(row, 0) for row in range(25)]
    few = [row for row in range(25) if row % 3 == 0]
    assert values(bonuses(named).without(few)) == {row: named[row] for row in named if row % 3}
    assert bonuses(named).names(rows).tolist() == [row in named for row in range(25)]
