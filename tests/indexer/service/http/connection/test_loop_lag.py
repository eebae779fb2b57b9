"""How far an event loop is behind, by a clock of our own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from indexer.service.http.connection.loop_lag import LoopLag


class Clock:
    """Stands still unless it is moved."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lag(clock: Clock) -> Iterator[LoopLag]:
    """Of a loop that does not run by itself, so that only the test measures."""
    loop = asyncio.new_event_loop()
    asyncio._set_running_loop(loop)
    try:
        measured = LoopLag(clock)
        assert measured.seconds == 0
        yield measured
    finally:
        asyncio._set_running_loop(None)
        loop.close()


def turn(lag: LoopLag, clock: Clock, seconds: float) -> float:
    clock.now += seconds
    lag.measure()
    return round(lag.seconds, 3)


def test_a_loop_on_time_is_not_late(lag: LoopLag, clock: Clock) -> None:
    assert [turn(lag, clock, 0.05) for _ in range(3)] == [0, 0, 0]


def test_a_long_turn_makes_it_late_and_a_short_one_ends_that(lag: LoopLag, clock: Clock) -> None:
    assert [turn(lag, clock, seconds) for seconds in (0.45, 60.0, 0.06, 0.05)] == [0.4, 59.95, 0.01, 0.0]


def test_it_measures_by_itself() -> None:
    async def run() -> None:
        times = 0

        def clock() -> float:
            nonlocal times
            times += 1
            return float(times)  # a second passes from each look to the next

        lag = LoopLag(clock)
        async with asyncio.timeout(60):
            while lag.seconds == 0:
                await asyncio.sleep(0.01)

    asyncio.run(run())
