import itertools
from datetime import datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.logs.sessions import (
    are_repeated,
    number_interactions,
    order_sessions,
    rank_sessions,
    split_sessions,
)

NOON = datetime(2024, 1, 1, 12)
GAP = timedelta(minutes=30)

# (user, minute) in the order of the log; times repeat and go back.
LOGS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 200)), max_size=30)


def loose(log: list[tuple[str, int]]) -> pl.DataFrame:
    rows = [(None, user, NOON + timedelta(minutes=minute), order) for order, (user, minute) in enumerate(log)]
    schema = {"session_id": pl.String, "user_id": pl.String, "timestamp": pl.Datetime("us"), "order": pl.UInt32}
    return pl.DataFrame(rows, schema=schema, orient="row")


def slowly_split(log: list[tuple[str, int]]) -> set[frozenset[int]]:
    """Sessions as sets of places in the log, one event after the other."""
    sessions: list[set[int]] = []
    last: dict[str, tuple[int, set[int]]] = {}
    for order in sorted(range(len(log)), key=lambda place: (log[place][1], place)):
        user, minute = log[order]
        if user not in last or minute - last[user][0] >= 30:
            sessions.append(set())
            last[user] = (minute, sessions[-1])
        last[user][1].add(order)
        last[user] = (minute, last[user][1])
    return {frozenset(session) for session in sessions}


@given(LOGS)
def test_sessions_split_as_one_event_after_the_other_would(log: list[tuple[str, int]]) -> None:
    split = split_sessions(loose(log), GAP)
    assert split["order"].to_list() == list(range(len(log)))
    result = {frozenset(orders) for orders in split.group_by("session_id").agg("order")["order"].to_list()}
    assert result == slowly_split(log)


def test_a_session_keeps_its_name_when_days_are_added_around_it() -> None:
    name = split_sessions(loose([("a", 100)]), GAP)["session_id"].item()
    assert name in split_sessions(loose([("a", 0), ("a", 100), ("b", 100)]), GAP)["session_id"].to_list()


def test_given_session_ids_are_kept() -> None:
    log = loose([("a", 0), ("a", 100)]).with_columns(session_id=pl.Series(["s", "s"]))
    assert split_sessions(log, GAP)["session_id"].to_list() == ["s", "s"]


def joined(*rows: tuple[str | None, str, int]) -> list[str]:
    """The sessions of (session, user, minute), in the order of the log."""
    filled = [
        (session, user, NOON + timedelta(minutes=minute), order) for order, (session, user, minute) in enumerate(rows)
    ]
    schema = {"session_id": pl.String, "user_id": pl.String, "timestamp": pl.Datetime("us"), "order": pl.UInt32}
    return split_sessions(pl.DataFrame(filled, schema=schema, orient="row"), GAP)["session_id"].to_list()


def test_an_event_without_a_session_joins_the_one_that_was_going_on() -> None:
    rows = [("s", "a", 0), (None, "a", 29), (None, "a", 50), ("t", "a", 100), (None, "a", 101), ("x", "b", 101)]
    assert joined(*rows) == ["s", "s", "s", "t", "t", "x"]


def test_an_event_before_the_first_of_a_session_joins_it_too() -> None:
    assert joined((None, "a", 0), ("s", "a", 5), ("t", "a", 6), (None, "a", 7)) == ["s", "s", "t", "t"]


def test_an_event_that_is_far_from_every_session_has_its_own() -> None:
    assert joined(("s", "a", 0), (None, "a", 30), ("t", "a", 60), (None, "b", 0)) == [
        "s",
        f"a-{1_704_110_400_000_000 + 30 * 60_000_000}",
        "t",
        "b-1704110400000000",
    ]


def slowly_joined(rows: list[tuple[str | None, str, int]]) -> list[str | None]:
    """The session that each event joins, one visit after the other; None where it has one of its own."""
    sessions = [session for session, _, _ in rows]
    visit: list[int] = []
    timeline = sorted(range(len(rows)), key=lambda place: (rows[place][1], rows[place][2], place))
    for place, after in itertools.zip_longest(timeline, timeline[1:]):
        visit.append(place)
        if after is None or rows[after][1] != rows[place][1] or rows[after][2] - rows[place][2] >= 30:
            for number, member in enumerate(visit):
                around = [*reversed(visit[:number]), *visit[number:]]
                named = [rows[other][0] for other in around if rows[other][0]]
                sessions[member] = sessions[member] or next(iter(named), None)
            visit = []
    return sessions


@given(st.lists(st.tuples(st.sampled_from(["s", "t", None]), st.sampled_from("ab"), st.integers(0, 120)), max_size=12))
def test_events_join_sessions_as_one_visit_after_the_other_would(rows: list[tuple[str | None, str, int]]) -> None:
    for result, expected in zip(joined(*rows), slowly_joined(rows), strict=True):
        assert result == expected or (expected is None and result.startswith(("a-", "b-")))


def events(*rows: tuple[str, int | None, int | None]) -> pl.DataFrame:
    """(session, minute, position) in the order of the log."""
    columns = [
        (session, None if minute is None else NOON + timedelta(minutes=minute), position, order)
        for order, (session, minute, position) in enumerate(rows)
    ]
    schema = {"session_id": pl.String, "timestamp": pl.Datetime("us"), "position": pl.Int64, "order": pl.UInt32}
    return pl.DataFrame(columns, schema=schema, orient="row")


def ordered(*rows: tuple[str, int | None, int | None]) -> list[int]:
    log = events(*rows)
    ranked = log.join(rank_sessions(log.lazy()).drop("before"), on="session_id")
    return order_sessions(ranked)["order"].to_list()


def test_a_session_is_ordered_by_time_then_position_then_order_in_the_log() -> None:
    assert ordered(("s", 2, None), ("s", 1, None), ("s", 1, None)) == [1, 2, 0]
    assert ordered(("s", 1, 1), ("s", 1, 0), ("s", 0, 2)) == [2, 1, 0]


def test_one_missing_time_leaves_a_session_in_the_order_of_its_log() -> None:
    assert ordered(("s", 2, None), ("s", None, None), ("s", 1, None)) == [0, 1, 2]


def test_sessions_are_in_the_order_in_which_they_began() -> None:
    assert ordered(("late", 9, None), ("early", 1, None), ("never", None, None), ("late", 3, None)) == [1, 3, 0, 2]


def test_only_what_repeats_the_event_just_before_is_marked() -> None:
    rows = [("s", "view", "p", None), ("s", "view", "p", None), ("s", "add", "p", None), ("s", "view", "p", None)]
    rows += [
        ("t", "view", "p", None),
        ("t", "search", None, "q"),
        ("t", "search", None, "q"),
        ("t", "search", None, "r"),
    ]
    frame = pl.DataFrame(rows, schema=["session_id", "action", "product_id", "query"], orient="row")
    marks = are_repeated(frame).to_list()
    assert [place for place, mark in enumerate(marks) if mark] == [1, 6]


def test_positions_count_from_zero_in_each_session() -> None:
    frame = number_interactions(pl.DataFrame({"session_id": ["s", "s", "t"]}))
    assert frame["position"].to_list() == [0, 1, 0]
