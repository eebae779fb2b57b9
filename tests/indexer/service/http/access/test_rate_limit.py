"""The rate of a key."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from indexer.service.http.access.key import Key, Role
from indexer.service.http.access.rate_limit import RateLimits
from indexer.service.http.errors import RequestError


@dataclass
class Clock:
    """Seconds, as a test sets them."""

    now: float = 1_000.0

    def __call__(self) -> float:
        """Now."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that stands."""
    return Clock()


def key(rate: float | None = 10, burst: float = 5, name: str = "shop") -> Key:
    """A key with a rate."""
    return Key(name, Role.READ, b"", rate, burst)


def admitted(rates: RateLimits, key: Key, tries: int = 1_000) -> int:
    """How many requests are admitted at this moment."""
    for number in range(tries):
        try:
            rates.admit(key)
        except RequestError:
            return number
    return tries


def test_a_burst_is_admitted_and_then_the_rate(clock: Clock) -> None:
    rates = RateLimits(clock=clock)
    assert admitted(rates, key()) == 5
    clock.now += 0.25
    assert admitted(rates, key()) == 2
    clock.now += 1_000
    assert admitted(rates, key()) == 5


def test_without_a_rate_or_a_key_all_is_admitted(clock: Clock) -> None:
    rates = RateLimits(clock=clock)
    assert admitted(rates, key(rate=None)) == 1_000
    rates.admit(None)
    rates.charge(None, 10)


@pytest.mark.parametrize(("rate", "debt", "seconds"), [(10, 0, 1), (0.25, 0, 4), (10, 95, 10), (1, 60, 61)])
def test_a_refusal_says_when_to_come_again_and_then_it_is_admitted(
    clock: Clock, rate: float, debt: int, seconds: int
) -> None:
    rates, shop = RateLimits(clock=clock), key(rate)
    admitted(rates, shop)
    rates.charge(shop, debt)
    with pytest.raises(RequestError) as raised:
        rates.admit(shop)
    answer = raised.value.answer
    assert (answer.status, answer.error_type) == (429, "rate_limited")
    assert answer.headers == ((b"retry-after", b"%d" % seconds),)
    clock.now += seconds
    rates.admit(shop)


def test_batches_and_single_requests_come_at_the_same_sessions_a_second(clock: Clock) -> None:
    for sessions in (1, 4, 50):
        rates, shop, answered = RateLimits(clock=clock), key(rate=100, burst=100), 0
        for _ in range(2_000):  # 20 s
            clock.now += 0.01
            try:
                rates.admit(shop)
            except RequestError:
                continue
            rates.charge(shop, sessions - 1)
            answered += sessions
        assert answered == pytest.approx(2_000, abs=150)


def test_keys_do_not_spend_each_other_s_tokens(clock: Clock) -> None:
    rates = RateLimits(clock=clock)
    assert [admitted(rates, key(name=name)) for name in ("one", "other")] == [5, 5]


def test_each_worker_admits_its_share(clock: Clock) -> None:
    rates, shop = RateLimits(4, clock), key(rate=40, burst=20)
    assert admitted(rates, shop) == 5
    clock.now += 0.2
    assert admitted(rates, shop) == 2


def test_a_clock_that_goes_back_gives_and_takes_nothing(clock: Clock) -> None:
    rates = RateLimits(clock=clock)
    admitted(rates, key())
    clock.now -= 100
    assert admitted(rates, key()) == 0
    clock.now += 0.1
    assert admitted(rates, key()) == 1


def test_buckets_of_keys_that_were_replaced_do_not_pile_up(clock: Clock) -> None:
    rates = RateLimits(clock=clock)
    for number in range(2_000):
        rates.admit(key(name=f"key {number}"))
    assert len(rates) <= 512
