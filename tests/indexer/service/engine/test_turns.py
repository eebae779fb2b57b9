"""Everybody gets a turn, batches stay within their budget, and nothing is worked that nobody waits for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.search.query import Query
from indexer.service.engine.turns import Batch, Turns
from indexer.service.engine.work import Work
from tests.indexer.service.engine.toy_work import toy_call, toy_work, unread_of

MAX_SESSIONS, MAX_INTERACTIONS = 12, 16

requests = st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=40), max_size=20)


def turns_of(*works: Work) -> Turns:
    turns = Turns(MAX_SESSIONS, MAX_INTERACTIONS, unread_of)
    for work in works:
        turns.add(work)
    return turns


def all_batches(turns: Turns) -> list[Batch]:
    batches = []
    while len(turns):
        batches.append(turns.take(0.0))
    return batches


def taken(batches: Sequence[Batch], work: Work) -> list[Query]:
    return [query for batch in batches for owner, query in batch.queries if owner is work]


@given(requests)
def test_every_query_is_taken_once_and_in_order(many: list[list[int]]) -> None:
    works = [toy_work(*unread) for unread in many]
    batches = all_batches(turns_of(*works))
    for work in works:
        assert list(map(id, taken(batches, work))) == list(map(id, work.queries))


@given(requests)
def test_batches_keep_within_the_budget_and_say_why_they_end(many: list[list[int]]) -> None:
    turns = turns_of(*(toy_work(*unread) for unread in many))
    while len(turns):
        batch = turns.take(0.0)
        assert 1 <= batch.sessions == len(batch.queries) <= MAX_SESSIONS
        assert batch.interactions == sum(unread_of(*one) for one in batch.queries)
        assert batch.interactions <= MAX_INTERACTIONS or batch.sessions == 1
        assert (batch.reason == "empty") is (not len(turns))
        assert batch.reason != "sessions" or batch.sessions == MAX_SESSIONS


@given(requests)
def test_a_small_request_waits_for_one_turn_of_each_before_it(many: list[list[int]]) -> None:
    small = toy_work(0)
    turns = turns_of(*(toy_work(*unread) for unread in many), small)
    before: list[Work] = []
    while not small.is_taken:
        works = [work for work, _ in turns.take(0.0).queries]
        before.extend(works[: works.index(small)] if small in works else works)
    assert all(before.count(work) <= 8 for work in before)


def test_many_warm_sessions_are_one_batch_and_cold_ones_are_several() -> None:
    warm, cold = (turns_of(*(toy_work(unread) for _ in range(12))) for unread in (0, 8))
    assert [(batch.sessions, batch.reason) for batch in all_batches(warm)] == [(12, "empty")]
    assert [(batch.sessions, batch.reason) for batch in all_batches(cold)] == [(2, "interactions")] * 5 + [(2, "empty")]


def test_a_full_batch_is_released_for_its_sessions() -> None:
    batches = all_batches(turns_of(*(toy_work(0) for _ in range(13))))
    assert [(batch.sessions, batch.reason) for batch in batches] == [(12, "sessions"), (1, "empty")]


def test_a_large_request_gives_slices_between_which_others_get_their_turn() -> None:
    large, small = toy_work(*[0] * 20), toy_work(0)
    turns = turns_of(large)
    first = turns.take(0.0)
    turns.add(small)
    second, third = all_batches(turns)
    assert (first.sessions, first.reason) == (8, "slice")
    assert [owner is small for owner, _ in second.queries] == [False] * 8 + [True]
    assert (third.sessions, third.reason) == (4, "empty")


@pytest.mark.parametrize(
    ("gone", "reason"), [(toy_work(0, is_cancelled=True), "cancelled"), (toy_work(0, deadline=5.0), "timeout")]
)
def test_what_nobody_waits_for_is_dropped_without_work(gone: Work, reason: str) -> None:
    others = [toy_work(0), toy_work(0)]
    batch = turns_of(others[0], gone, others[1]).take(5.0)
    assert batch.works() == others
    assert (batch.dropped, gone.dropped, gone.taken) == ([gone], reason, 0)


def test_a_request_whose_time_is_over_between_two_slices_is_dropped() -> None:
    large = toy_work(*[0] * 20, deadline=5.0)
    turns = turns_of(large)
    assert turns.take(4.0).sessions == 8
    batch = turns.take(5.0)
    assert (batch.sessions, batch.dropped, len(turns)) == (0, [large], 0)


def test_a_request_that_has_failed_is_not_worked_further() -> None:
    large = toy_work(*[0] * 20)
    turns = turns_of(large)
    turns.take(0.0)
    large.error = ValueError("no")
    assert (turns.take(0.0).sessions, len(turns)) == (0, 0)


def test_a_call_counts_as_the_sessions_that_it_says() -> None:
    first, second, third = toy_call(8), toy_call(8), toy_work(0)
    batches = all_batches(turns_of(first, second, third))
    assert [(batch.calls, batch.sessions) for batch in batches] == [([first], 8), ([second], 9)]
