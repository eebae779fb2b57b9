"""The heaviest sessions and users."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from ubm_embed.data.corpus import Corpus
from ubm_embed.data.inspection.numbered_corpus import NumberedCorpus
from ubm_embed.data.inspection.traffic import TrafficStatistics

CorpusOf = Callable[..., Corpus]
NOON = datetime(2025, 3, 1, 12)


def measure(corpus: Corpus) -> TrafficStatistics:
    users = corpus.interactions.get_column("user_id", default=None)
    return TrafficStatistics.measure(NumberedCorpus.from_corpus(corpus), users)


def every(seconds: float, count: int) -> list[datetime]:
    return [NOON + timedelta(seconds=seconds * number) for number in range(count)]


@pytest.mark.parametrize(
    ("session", "heavy"),
    [
        (["a", "b"] * 100, False),
        (["a", "b"] * 100 + ["a"], True),
        ([f"p{number}" for number in range(100)], False),
        ([f"p{number}" for number in range(101)], True),
    ],
)
def test_a_session_is_heavy_by_interactions_or_by_products(
    corpus_of: CorpusOf, session: list[str], heavy: bool
) -> None:
    found = measure(corpus_of([["a", "b"], session]))
    assert found.heavy_sessions == heavy
    assert found.heavy_sessions_share == pytest.approx(heavy * len(session) / (len(session) + 2))
    assert found.sessions[0].interactions == len(session)
    assert found.users is None


@pytest.mark.parametrize(("seconds", "count", "heavy"), [(1, 20, True), (1, 19, False), (3, 60, False)])
def test_a_session_is_heavy_by_its_rate(corpus_of: CorpusOf, seconds: float, count: int, heavy: bool) -> None:
    found = measure(corpus_of([["a"] * count], times=[every(seconds, count)]))
    assert found.heavy_sessions == heavy


def test_the_rate_is_per_minute_of_the_session(corpus_of: CorpusOf) -> None:
    found = measure(corpus_of([["a"] * 21], times=[every(6, 21)]))
    assert found.sessions[0].per_minute == 10


def test_one_time_for_all_has_no_rate(corpus_of: CorpusOf) -> None:
    found = measure(corpus_of([["a"] * 30], times=[every(0, 30)]))
    assert found.sessions[0].per_minute is None


def test_the_fastest_session_is_named_beside_the_heaviest(corpus_of: CorpusOf) -> None:
    counts = [40, 50, 60, 70, 80, 20]
    times = [every(60, count) for count in counts[:-1]] + [every(1, 20)]
    found = measure(corpus_of([["a"] * count for count in counts], times=times))
    assert [session.name for session in found.sessions] == ["s4", "s3", "s2", "s1", "s0", "s5"]


def test_users_are_counted_over_their_sessions(corpus_of: CorpusOf) -> None:
    found = measure(corpus_of([["a", "b"], ["b", "search x"], ["a"], ["a"]], users=["u", "u", "v", None]))
    assert found.users == 2
    assert [(user.name, user.interactions, user.products) for user in found.heaviest_users] == [
        ("u", 4, 2),
        ("v", 1, 1),
    ]


def test_a_user_is_heavy_by_number_and_share(corpus_of: CorpusOf) -> None:
    sessions = [["a", "b"] * 501, ["a", "b"] * 100]
    assert measure(corpus_of(sessions, users=["robot", "u"])).heavy_users == 1
    many = [sessions[0]] + [["a", "b"] * 100 for _ in range(600)]
    found = measure(corpus_of(many, users=["robot"] + [f"u{number}" for number in range(600)]))
    assert (found.heavy_users, found.users) == (0, 601)  # under 1% of all
