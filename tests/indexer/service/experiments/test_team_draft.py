"""Two lists become one in which neither is at an advantage."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.search.answer import Match
from indexer.service.experiments.team_draft import Drafted, team_draft

_PRODUCTS = st.lists(st.sampled_from("abcdefghij"), max_size=8)


def matches(product_ids: str | list[str]) -> list[Match]:
    return [Match(rank, product_id, 0.5, product_id) for rank, product_id in enumerate(product_ids, start=1)]


def ids(drafted: Drafted) -> list[str]:
    return [match.product_id for match in drafted.matches]


@given(_PRODUCTS, _PRODUCTS, st.integers(1, 12), st.text(max_size=5))
def test_a_draft_has_each_product_once_and_no_more_than_asked(
    first: list[str], second: list[str], k: int, seed: str
) -> None:
    drafted = team_draft(matches(first), matches(second), k, seed)
    assert len(set(ids(drafted))) == len(drafted.matches) == min(k, len({*first, *second}))
    assert [match.rank for match in drafted.matches] == list(range(1, len(drafted.matches) + 1))
    assert len(drafted.teams) == len(drafted.matches)


@given(_PRODUCTS, _PRODUCTS, st.integers(1, 12), st.text(max_size=5))
def test_each_pick_is_the_best_of_its_list_that_is_left(first: list[str], second: list[str], k: int, seed: str) -> None:
    drafted = team_draft(matches(first), matches(second), k, seed)
    for place, (product_id, team) in enumerate(zip(ids(drafted), drafted.teams, strict=True)):
        left = [one for one in (first, second)[team] if one not in ids(drafted)[:place]]
        assert product_id == left[0]


@given(_PRODUCTS, _PRODUCTS, st.text(max_size=5))
def test_a_shorter_draft_is_the_beginning_of_a_longer_one(first: list[str], second: list[str], seed: str) -> None:
    long = team_draft(matches(first), matches(second), 20, seed)
    short = team_draft(matches(first), matches(second), 3, seed)
    assert (short.matches, short.teams) == (long.matches[:3], long.teams[:3])


@given(st.permutations("abcdefghij"), st.permutations("abcdefghij"), st.integers(1, 10), st.text(max_size=5))
def test_teams_differ_by_one_match_at_most(first: list[str], second: list[str], k: int, seed: str) -> None:
    drafted = team_draft(matches(first), matches(second), k, seed)
    counts = Counter(drafted.teams)
    assert abs(counts[0] - counts[1]) <= 1


def test_the_same_seed_gives_the_same_draft_on_every_machine() -> None:
    drafted = team_draft(matches("abcdef"), matches("badcfe"), 6, "answer-1")
    assert ("".join(ids(drafted)), drafted.teams) == ("badcef", (1, 0, 1, 0, 0, 1))


@pytest.mark.parametrize("second", ["bacdef", "ghijkl", "fedcba"])
@pytest.mark.parametrize("clicked", range(6))
def test_a_click_at_any_rank_is_as_likely_for_either_list(second: str, clicked: int) -> None:
    """A shopper who clicks at random prefers neither list, or the comparison would not be fair."""
    drafts = [team_draft(matches("abcdef"), matches(second), 6, f"answer-{number}") for number in range(2_000)]
    first_team = sum(draft.teams[clicked] == 0 for draft in drafts)
    assert first_team == pytest.approx(1_000, abs=4 * 22.4)  # standard deviations


def test_a_click_on_what_only_one_list_has_is_that_lists() -> None:
    drafts = [team_draft(matches("ab"), matches("xb"), 3, f"answer-{number}") for number in range(100)]
    assert {draft.teams[ids(draft).index("a")] for draft in drafts} == {0}
    assert {draft.teams[ids(draft).index("x")] for draft in drafts} == {1}
