"""What is said about timestamps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from ubm_embed.data.corpus import Corpus
from ubm_embed.data.inspection.numbered_corpus import NumberedCorpus
from ubm_embed.data.inspection.times import TimeStatistics

CorpusOf = Callable[..., Corpus]
NOON = datetime(2025, 3, 1, 12)
NOW = datetime(2025, 6, 1)


@pytest.fixture
def measure(corpus_of: CorpusOf) -> Callable[..., TimeStatistics]:
    def measure(*times: Sequence[datetime | None], now: datetime = NOW) -> TimeStatistics:
        corpus = corpus_of([["a"] * len(session) for session in times], times=times)
        return TimeStatistics.measure(NumberedCorpus.from_corpus(corpus), now=now)

    return measure


Measure = Callable[..., TimeStatistics]


def after(**pause: float) -> datetime:
    return NOON + timedelta(**pause)


def test_without_timestamps(corpus_of: CorpusOf) -> None:
    found = TimeStatistics.measure(NumberedCorpus.from_corpus(corpus_of([["a", "b"]])), now=NOW)
    assert (found.missing_share, found.first, found.precision) == (1.0, None, None)


def test_range_and_gaps(measure: Measure) -> None:
    found = measure([NOON, after(minutes=1)], [after(days=1)], [after(days=4)], [after(days=6)], [None])
    assert (found.first, found.last) == (NOON, after(days=6))
    assert (found.days, found.empty_days, found.longest_gap_days) == (7, 3, 2)
    assert found.missing_share == pytest.approx(1 / 6)


def test_the_future_and_the_time_before_shops(measure: Measure) -> None:
    times = [
        datetime(1970, 1, 1),
        datetime(1989, 12, 31, 23, 59),
        datetime(1990, 1, 1),
        NOW,
        NOW + timedelta(seconds=1),
    ]
    found = measure(times)
    assert (found.early_share, found.future_share) == (0.4, 0.2)


def test_now_in_another_zone(measure: Measure) -> None:
    at_noon_utc = datetime(2025, 3, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    assert measure([NOON], now=at_noon_utc).future_share == 0
    assert measure([NOON], now=NOON.replace(tzinfo=UTC) - timedelta(hours=1)).future_share == 1


@pytest.mark.parametrize(
    ("time", "precision"),
    [
        (datetime(2025, 3, 1), "days"),
        (NOON, "minutes"),
        (after(seconds=1), "seconds"),
        (after(milliseconds=1), "below a second"),
    ],
)
def test_the_coarsest_unit_that_all_times_keep_to(measure: Measure, time: datetime, precision: str) -> None:
    assert measure([datetime(2025, 2, 1), time]).precision == precision


def test_times_that_run_backwards_or_stand_still(measure: Measure) -> None:
    found = measure([NOON, after(minutes=2), after(minutes=1)], [NOON, NOON], [NOON], [NOON, after(hours=25)])
    assert found.backwards_share == 0.25
    assert found.same_time_share == pytest.approx(1 / 3)
    assert found.long_sessions_share == 0.25
    assert found.median_minutes == 2


def test_a_session_that_lacks_a_time_is_not_judged(measure: Measure) -> None:
    found = measure([NOON, None, after(hours=-2)], [NOON, after(minutes=1)])
    assert (found.backwards_share, found.long_sessions_share) == (0, 0)


def test_a_night_is_seen(measure: Measure) -> None:
    by_day = measure([after(hours=hour) for hour in range(-4, 8)])
    assert by_day.night_ratio == 0
    assert measure([after(hours=hour) for hour in range(24)]).night_ratio == 1
    assert sum(by_day.hours) == by_day.hours[12] * 12 == 12


def test_a_year_that_python_does_not_know(corpus_of: CorpusOf) -> None:
    numbered = NumberedCorpus.from_corpus(corpus_of([["a"]], times=[[NOON]]))
    far = replace(numbered, times=numbered.times * 0 + 9 * 10**17)  # microseconds: the year 30,489
    found = TimeStatistics.measure(far, now=NOW)
    assert (found.last, found.future_share) == (None, 1)
