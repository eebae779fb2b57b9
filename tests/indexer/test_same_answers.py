"""The comparison of answers forgives rounding and ties, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from indexer.search.answer import Match
from tests.indexer.same_answers import ATOL, assert_same_matches

ANSWER = [
    Match(rank, name, score, name, None, {"price": 1.0})
    for rank, (name, score) in enumerate([("a", 0.9), ("b", 0.5), ("c", 0.5 - ATOL / 2), ("d", 0.1)], start=1)
]


def ordered(*matches: Match) -> list[Match]:
    return [replace(match, rank=rank) for rank, match in enumerate(matches, start=1)]


def test_ties_may_be_in_any_order() -> None:
    a, b, c, d = ANSWER
    assert_same_matches(ordered(a, c, b, d), ANSWER)


def test_either_of_two_ties_may_be_cut_off() -> None:
    a, b, c, _ = ANSWER
    assert_same_matches(ordered(a, b), ordered(a, c))


@pytest.mark.parametrize(
    "other",
    [
        ANSWER[:3],
        ordered(ANSWER[1], ANSWER[0], *ANSWER[2:]),
        [replace(ANSWER[0], score=0.9 + 2 * ATOL), *ANSWER[1:]],
        [replace(ANSWER[0], fields={"price": 2.0}), *ANSWER[1:]],
        [*ANSWER[:3], replace(ANSWER[3], product_id="e", score=0.1 - 2 * ATOL)],
    ],
    ids=["shorter", "another order", "another score", "another price", "another product"],
)
def test_anything_else_is_a_difference(other: list[Match]) -> None:
    with pytest.raises(AssertionError):
        assert_same_matches(other, ANSWER)
