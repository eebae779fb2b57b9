"""Whether the order within sessions is that of time, that of ids, or says nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ubm_embed.data.corpus import Corpus
from ubm_embed.data.inspection import order
from ubm_embed.data.inspection.numbered_corpus import NumberedCorpus
from ubm_embed.data.inspection.order import OrderStatistics, id_ranks
from ubm_embed.data.inspection.order_verdict import OrderKind, OrderVerdict

CorpusOf = Callable[..., Corpus]
GROUPS, SIZE, SESSIONS = 40, 8, 400  # products come in groups that are clicked together
IDS = [f"p{number}" for number in np.random.default_rng(7).permutation(GROUPS * SIZE)]


def measure(corpus: Corpus, seed: int = 0) -> OrderStatistics:
    numbered = NumberedCorpus.from_corpus(corpus)
    return OrderStatistics.measure(numbered, corpus.products["product_id"], seed=seed)


def verdict(corpus: Corpus) -> OrderVerdict:
    return OrderVerdict.from_statistics(measure(corpus))


def sets(rng: np.random.Generator, sessions: int = SESSIONS) -> list[list[int]]:
    """Four products of a group each, in random order."""
    groups = rng.integers(GROUPS, size=sessions)
    return [(group * SIZE + rng.permutation(SIZE)[:4]).tolist() for group in groups]


def named(sessions: list[list[int]]) -> list[list[str]]:
    return [[IDS[number] for number in session] for session in sessions]


def walks(rng: np.random.Generator, sessions: int = SESSIONS) -> list[list[int]]:
    """Four products of a group, mostly one after another in the group's own order."""
    groups, starts = rng.integers(GROUPS, size=sessions), rng.integers(SIZE, size=sessions)
    steps = (starts[:, None] + np.arange(4)) % SIZE
    return (groups[:, None] * SIZE + steps).tolist()


def rising(sessions: list[list[str]]) -> list[list[datetime]]:
    begin = datetime(2025, 3, 1)
    return [[begin + timedelta(minutes=minute) for minute in range(len(session))] for session in sessions]


def test_a_shuffled_order_says_nothing(corpus_of: CorpusOf) -> None:
    found = verdict(corpus_of(named(sets(np.random.default_rng(0)))))
    assert (found.kind, found.partly_ids) == (OrderKind.NOTHING, False)
    assert "nothing" in found.explanation


def test_habits_are_information(corpus_of: CorpusOf) -> None:
    found = verdict(corpus_of(named(walks(np.random.default_rng(0)))))
    assert (found.kind, found.partly_ids) == (OrderKind.INFORMATION, False)


def test_rising_timestamps_are_time(corpus_of: CorpusOf) -> None:
    sessions = named(walks(np.random.default_rng(0)))
    assert verdict(corpus_of(sessions, times=rising(sessions))).kind is OrderKind.TIME


def test_rising_timestamps_on_a_random_order_say_nothing(corpus_of: CorpusOf) -> None:
    sessions = named(sets(np.random.default_rng(0)))
    found = verdict(corpus_of(sessions, times=rising(sessions)))
    assert found.kind is OrderKind.NOTHING
    assert "timestamps rise" in found.explanation


@pytest.mark.parametrize("reverse", [False, True])
def test_sorted_ids_are_found_upwards_and_downwards(corpus_of: CorpusOf, reverse: bool) -> None:
    sessions = named(sets(np.random.default_rng(0)))
    listed = [sorted(session, key=lambda name: int(name[1:]), reverse=reverse) for session in sessions]
    found = verdict(corpus_of(listed))
    assert found.kind is OrderKind.IDS
    assert "ids" in found.explanation


def test_ids_of_letters_and_digits_are_found_sorted_as_text(corpus_of: CorpusOf) -> None:
    rng = np.random.default_rng(3)
    codes = ["B00" + "".join(rng.choice(list("0123456789ABCDEFGH"), 7)) for _ in IDS]
    listed = [sorted(codes[number] for number in session) for session in sets(np.random.default_rng(0))]
    assert verdict(corpus_of(listed)).kind is OrderKind.IDS


def test_sorted_ids_under_one_time_are_still_ids(corpus_of: CorpusOf) -> None:
    sessions = [sorted(session, key=lambda name: int(name[1:])) for session in named(sets(np.random.default_rng(0)))]
    times = [[datetime(2025, 3, 1)] * len(session) for session in sessions]
    assert verdict(corpus_of(sessions, times=times)).kind is OrderKind.IDS


def test_lists_in_runs_of_ids_are_ids_though_half_of_the_runs_go_down(corpus_of: CorpusOf) -> None:
    rng = np.random.default_rng(0)
    starts, directions = rng.integers(1000, size=(200, 8, 1)), rng.choice([-1, 1], size=(200, 8, 1))
    runs = (starts + directions * np.arange(3)).reshape(200, 24)
    sessions = [[f"p{number}" for number in session] for session in runs]
    found = measure(corpus_of(sessions))
    assert found.up is not None
    assert 0.4 < found.up.share < 0.6
    assert OrderVerdict.from_statistics(found).kind is OrderKind.IDS


def test_copied_lists_are_no_information(corpus_of: CorpusOf) -> None:
    # Each list comes several times in one arbitrary order: it predicts itself, and nothing else.
    rng = np.random.default_rng(0)
    lists = [rng.permutation(GROUPS * SIZE)[:5].tolist() for _ in range(150)]
    assert verdict(corpus_of(named(lists * 4))).kind in (OrderKind.NOTHING, OrderKind.UNDECIDED)


@pytest.mark.parametrize("count", [1, 20])
def test_a_few_sessions_decide_nothing(corpus_of: CorpusOf, count: int) -> None:
    assert verdict(corpus_of(named(walks(np.random.default_rng(0), count)))).kind is OrderKind.UNDECIDED


def test_without_two_products_in_a_session_there_is_no_order(corpus_of: CorpusOf) -> None:
    found = measure(corpus_of([["a"], ["a", "add a"], ["search x"]]))
    assert (found.sessions, found.steps, found.hit) == (0, 0, None)
    assert OrderVerdict.from_statistics(found).kind is OrderKind.UNDECIDED


def test_steps_lead_from_product_to_new_product(corpus_of: CorpusOf) -> None:
    found = measure(corpus_of([["p1", "search x", "p2", "p1", "p3"], ["p9"]]))
    assert (found.sessions, found.steps, found.sampled) == (1, 2, False)
    assert found.up is not None
    assert found.up.share == 1


def test_the_interval_covers_chance(corpus_of: CorpusOf) -> None:
    """Of 60 corpora without order, about 3 have an interval that excludes 0; 9 or more would be one chance in 300."""
    outside = 0
    for seed in range(60):
        hit = measure(corpus_of(named(sets(np.random.default_rng(seed), 100))), seed).hit
        assert hit is not None
        outside += not hit.low <= 0 <= hit.high
    assert outside < 9


def test_a_sample_says_so(corpus_of: CorpusOf, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = corpus_of(named(walks(np.random.default_rng(0))))
    monkeypatch.setattr(order, "MAX_SESSIONS", 50)
    found = measure(corpus)
    assert (found.sessions, found.steps, found.sampled) == (50, 150, True)
    assert measure(corpus) == found
    assert measure(corpus, seed=1) != found


def test_a_robot_counts_with_its_first_products_only(corpus_of: CorpusOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "MAX_PRODUCTS", 10)
    found = measure(corpus_of([[f"p{number}" for number in range(50)], ["p1", "p2"]]))
    assert (found.sessions, found.steps, found.sampled) == (2, 10, True)


def ranked(names: list[str], ranks: object) -> list[str]:
    return [names[index] for index in np.argsort(ranks)]  # type: ignore[call-overload]


def test_ids_are_ranked_as_text_and_by_their_number() -> None:
    names = ["p10", "p9", "a", "p9b", "12", "3", "Ä"]
    as_text, by_number = id_ranks(pl.Series(names))
    assert ranked(names, as_text) == sorted(names)
    assert ranked(names, by_number) == ["3", "12", "a", "p9", "p9b", "p10", "Ä"]


@given(st.lists(st.text(max_size=12), unique=True, min_size=1))
def test_any_ids_have_a_rank_each(names: list[str]) -> None:
    for ranks in id_ranks(pl.Series(names, dtype=pl.String)):
        assert sorted(ranks) == list(range(len(names)))


@given(st.lists(st.integers(0, 10**17), unique=True, min_size=1))
def test_numbers_are_ranked_as_numbers(numbers: list[int]) -> None:
    names = list(map(str, numbers))
    assert ranked(names, id_ranks(pl.Series(names))[1]) == list(map(str, sorted(numbers)))
