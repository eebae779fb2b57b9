"""RBO_ext: the paper's figures, the values of its first author's program, and the definition summed up slowly."""

import math
import string
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.evaluation.rank_overlap import rank_biased_overlap

ALPHABET = string.ascii_lowercase
# Sums of some hundreds of float64 terms below 1.
ATOL = 1e-12

rankings = st.lists(st.integers(0, 14), max_size=12, unique=True)


def slow_overlap(first: Sequence[int], second: Sequence[int], p: float) -> float:
    """Equation 4 of the paper with as many depths as count, and the agreement assumed beyond each ranking's end."""
    shorter, longer = sorted((first, second), key=len)
    s, l = len(shorter), len(longer)  # noqa: E741 - the paper's letters

    def overlap(depth: int) -> float:
        return len({*shorter[:depth]} & {*longer[:depth]})

    def agreement(depth: int) -> float:
        if depth <= s:
            return overlap(depth) / depth
        if depth <= l:
            return (overlap(depth) + overlap(s) * (depth - s) / s) / depth
        return agreement(l)

    depths = math.ceil(math.log(1e-16) / math.log(p)) + 1
    return (1 - p) * sum(p ** (depth - 1) * agreement(depth) for depth in range(1, depths))


def test_the_first_ten_ranks_have_86_percent_of_the_weight() -> None:
    """Equation 21 of the paper: two long rankings that agree in the first ten ranks only."""
    first, second = [*range(10), *range(100, 1000)], [*range(10), *range(2000, 2900)]
    assert rank_biased_overlap(first, second, 0.9) == pytest.approx(0.8556, abs=5e-5)


def test_the_rankings_of_figure_5() -> None:
    agreements = [0, 0, 2 / 3, 2 / 4, 2 / 5, 2 / 6, 2 / 7]
    expected = sum(0.1 * 0.9**depth * agreement for depth, agreement in enumerate(agreements)) + 2 / 7 * 0.9**7
    assert rank_biased_overlap("abcdefg", "zcavwxy", 0.9) == pytest.approx(expected, abs=ATOL)


@pytest.mark.parametrize(
    ("other", "p", "expected"),
    [
        ("f", 0.9, 0.053090),
        ("zclx", 0.9, 0.233312),
        ("nxqyk", 0.9, 0.049050),
        ("karfvodcjmwgzlypebunq", 0.9, 0.468431),
        ("zhatsimjpnkvcfxwqgoeryubd", 0.9, 0.364444),
        ("bnesoactrp", 0.4, 0.172992),
        ("aptkn", 0.2, 0.892587),
    ],
)
def test_rankings_of_two_lengths_score_as_by_the_authors_program(other: str, p: float, expected: float) -> None:
    """Values of William Webber's `rbo_ext`, printed with six digits, against the alphabet."""
    assert rank_biased_overlap(ALPHABET, other, p) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("other", "p", "expected"),
    [
        ("jtnxyzovchmfldbksguqewari", 0.9, 0.256365),
        ("achudyxfktsrzwbgqjenolivm", 0.9, 0.640332),
        ("achudyxfktsrzwbgqjenolivm", 0.99, 0.919628),
        ("agmtrsyhfidnjobwzkxvucqel", 0.8, 0.504878),
    ],
)
def test_rankings_of_one_length_score_as_by_the_authors_program(other: str, p: float, expected: float) -> None:
    assert rank_biased_overlap(sorted(other), other, p) == pytest.approx(expected, abs=1e-6)


@given(rankings.filter(bool), rankings.filter(bool), st.sampled_from([0.1, 0.5, 0.9]))
def test_it_is_the_sum_of_the_agreements(first: list[int], second: list[int], p: float) -> None:
    assert rank_biased_overlap(first, second, p) == pytest.approx(slow_overlap(first, second, p), abs=ATOL)


@given(rankings, rankings)
def test_it_is_symmetric_and_between_0_and_1(first: list[int], second: list[int]) -> None:
    overlap = rank_biased_overlap(first, second)
    assert overlap == rank_biased_overlap(second, first)
    assert -ATOL <= overlap <= 1 + ATOL


@given(rankings, st.integers(0, 12))
def test_a_ranking_agrees_with_itself_and_with_its_beginning(ranking: list[int], count: int) -> None:
    assert rank_biased_overlap(ranking, ranking) == pytest.approx(1, abs=ATOL)
    if ranking[:count]:
        assert rank_biased_overlap(ranking, ranking[:count]) == pytest.approx(1, abs=ATOL)


def test_a_change_at_the_top_weighs_more() -> None:
    assert rank_biased_overlap("abcde", "bacde") < rank_biased_overlap("abcde", "abced") < 1


def test_rankings_without_a_common_item() -> None:
    assert rank_biased_overlap("abc", "xyz") == 0
    assert rank_biased_overlap("abc", "") == 0
    assert rank_biased_overlap("", "") == 1


@pytest.mark.parametrize("p", [0, 1, -0.5, math.nan])
def test_a_persistence_out_of_range_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="p must be between 0 and 1"):
        rank_biased_overlap("ab", "ba", p)


@pytest.mark.parametrize(("first", "second", "name"), [("aba", "ab", "first"), ("ab", "abb", "second")])
def test_a_repeated_item_is_refused(first: str, second: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"the {name} ranking repeats an item"):
        rank_biased_overlap(first, second)
