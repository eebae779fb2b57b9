"""How far an event loop is behind, by a clock of our own."""

from __future__ import annotations

import asyncio

from indexer.service.http.connection.loop_lag import LoopLag


def test_it_is_what_is_due_and_was_not_called() -> None:
    now = 100.0

    async def measure() -> list[float]:
        nonlocal now
        lag = LoopLag(lambda: now)
        seconds = [lag.seconds]
        for passed in (0.04, 0.3, 1.0):
            now += passed
            seconds.append(round(lag.seconds, 2))
        await asyncio.sleep(0.2)  # it is measured again
        seconds.append(lag.seconds)
        return seconds

    before, on_time, late, later, afterwards = asyncio.run(measure())
    assert (before, on_time, late, later) == (0.0, 0.0, 0.29, 1.29)
    assert afterwards <= later


def test_it_is_gone_once_what_is_due_was_called_on_time() -> None:
    async def measure() -> float:
        lag, deadline = LoopLag(), asyncio.get_running_loop().time() + 60
        assert lag.seconds == 0.0
        lag._due = asyncio.get_running_loop().time() - 1_000  # as if the loop had stood still
        while lag.seconds > 30:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.01)
        return lag.seconds

    assert asyncio.run(measure()) < 30
