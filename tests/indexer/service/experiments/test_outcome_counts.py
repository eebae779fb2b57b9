"""Sums over sessions are the same however they came about."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from indexer.service.experiments.outcome_counts import Group, Tally, by_group, changes

_ACTS = st.lists(
    st.one_of(
        st.just(("answer", None)), st.tuples(st.sampled_from(["click", "add", "buy"]), st.sampled_from([None, 0, 1]))
    ),
    max_size=12,
)


def after(tally: Tally, act: tuple[Any, int | None]) -> Tally:
    kind, team = act
    return tally.with_answer() if kind == "answer" else tally.with_outcome(kind, team)


@given(st.lists(_ACTS, max_size=4))
def test_changes_one_by_one_add_up_to_those_of_whole_sessions(sessions: list[list[tuple[Any, int | None]]]) -> None:
    one_by_one, whole = Counter[str](), Counter[str]()
    for acts in sessions:
        tally, before = Tally(), None
        for act in acts:
            before, tally = tally if before or tally != Tally() else None, after(tally, act)
            one_by_one.update(changes(before, tally, 3, "a"))
        if acts:
            whole.update(changes(None, tally, 3, "a"))
    assert +one_by_one == +whole


def test_a_session_adds_its_counts_squares_and_products() -> None:
    tally = Tally(answers=3, clicks=2, buys=1)
    assert by_group(changes(None, tally, 7, "")) == {
        Group(7, ""): {
            "sessions": 1,
            "answers": 3,
            "answers_squared": 9,
            "clicks": 2,
            "clicks_squared": 4,
            "answers_times_clicks": 6,
            "sessions_with_clicks": 1,
            "buys": 1,
            "buys_squared": 1,
            "answers_times_buys": 3,
            "sessions_with_buys": 1,
        }
    }


def test_a_session_is_won_by_the_list_with_more_credits() -> None:
    tally = Tally().with_answer().with_outcome("click", 1)
    assert "1/a+b/won_by_1" in changes(None, tally, 1, "a+b")
    tied = changes(tally, tally.with_outcome("buy", 0), 1, "a+b")
    assert (tied["1/a+b/won_by_1"], tied["1/a+b/tied"]) == (-1, 1)


def test_nothing_changes_without_an_outcome() -> None:
    assert changes(Tally(answers=2), Tally(answers=2), 1, "a") == {}


def test_groups_are_in_the_order_of_versions_and_foreign_keys_are_left_out() -> None:
    counts = {"10/a/answers": 1, "9/a/answers": 2, "x": 3, "x/a/answers": 4, "9/a/other": 5, "9/a/answers/more": 6}
    assert by_group(counts) == {Group(9, "a"): {"answers": 2}, Group(10, "a"): {"answers": 1}}
    assert list(by_group(counts)) == [Group(9, "a"), Group(10, "a")]


def test_a_tally_can_be_kept_as_json() -> None:
    tally = Tally().with_answer().with_outcome("add", 1)
    assert msgspec.json.decode(msgspec.json.encode(tally), type=Tally) == tally
