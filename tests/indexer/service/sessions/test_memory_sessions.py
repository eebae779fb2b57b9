from __future__ import annotations

import asyncio
import itertools
import time
import tracemalloc

from indexer.service.sessions.event import Event
from indexer.service.sessions.memory_sessions import MemorySessions
from indexer.service.sessions.session_store import ShownAnswer
from ubm_embed.data.session import Action, Interaction


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def event(product_id: str = "p1", moment: float | None = None) -> Event:
    return Event(Interaction(Action.VIEW, product_id=product_id), time.time() if moment is None else moment)


def sessions(
    *, ttl: float = 60.0, max_sessions: int = 100, max_bytes: int = 1 << 20, clock: Clock | None = None
) -> MemorySessions:
    return MemorySessions(
        ttl=ttl, max_sessions=max_sessions, max_bytes=max_bytes, outcome_window=60.0, clock=clock or time.monotonic
    )


def kept(store: MemorySessions, *session_ids: str) -> list[bool]:
    return [asyncio.run(store.session(session_id)) is not None for session_id in session_ids]


def add(store: MemorySessions, *session_ids: str) -> None:
    for session_id in session_ids:
        asyncio.run(store.add_events(session_id, [event()]))


class TestBounds:
    def test_the_longest_untouched_make_room(self) -> None:
        store = sessions(max_sessions=3)
        add(store, "a", "b", "c", "a", "d")
        assert kept(store, "a", "b", "c", "d") == [True, False, True, True]
        assert asyncio.run(store.gauges())["evicted"] == 1

    def test_bytes_are_bounded(self) -> None:
        store = sessions(max_sessions=1_000_000, max_bytes=100_000)
        add(store, *(f"s{number}" for number in range(1_000)))
        gauges = asyncio.run(store.gauges())
        assert 50_000 < gauges["bytes"] <= 100_000
        assert gauges["sessions"] + gauges["evicted"] == 1_000

    def test_a_session_beyond_all_bytes_is_not_kept(self) -> None:
        store = sessions(max_bytes=10)
        add(store, "s")
        assert kept(store, "s") == [False]
        assert asyncio.run(store.gauges())["bytes"] == 0

    def test_the_bytes_are_those_that_it_takes(self) -> None:
        store = sessions(max_sessions=10_000, max_bytes=1 << 30)
        shown = ShownAnswer("a", time.time(), 1, "", tuple(f"product-{row}" for row in range(10)))

        async def answer_all() -> int:
            tracemalloc.start()
            try:
                for row in range(5_000):
                    await store.add_answer(f"session-{row:012}", shown)
                return tracemalloc.get_traced_memory()[0]
            finally:
                tracemalloc.stop()

        taken = asyncio.run(answer_all())
        claimed = asyncio.run(store.gauges())["bytes"]
        assert 0.5 * claimed < taken < 1.1 * claimed

    def test_ten_thousand_sessions_at_once(self) -> None:
        store = sessions(max_sessions=10_000, max_bytes=64 << 20)

        async def all_at_once() -> None:
            await asyncio.gather(*(store.add_events(f"s{row}", [event(f"p{row}")]) for row in range(10_000)))

        asyncio.run(all_at_once())
        assert all(kept(store, "s0", "s4999", "s9999"))


class TestTime:
    def test_a_session_is_kept_for_its_time_after_its_last_event(self) -> None:
        clock = Clock()
        store = sessions(ttl=60.0, clock=clock)
        add(store, "s")
        clock.seconds += 59
        add(store, "s")
        clock.seconds += 59
        assert kept(store, "s") == [True]
        clock.seconds += 1
        assert kept(store, "s") == [False]

    def test_what_expired_takes_no_room(self) -> None:
        clock = Clock()
        store = sessions(clock=clock)
        add(store, "a", "b")
        clock.seconds += 61
        assert asyncio.run(store.gauges()) == {"sessions": 0, "bytes": 0, "evicted": 0}

    def test_a_wall_clock_that_jumps_ends_no_session(self) -> None:
        wall = itertools.cycle([1.7e9, 3.0e9, 0.0])
        store = MemorySessions(ttl=60.0, max_sessions=9, max_bytes=1 << 20, outcome_window=60.0, now=lambda: next(wall))
        for number in range(6):
            asyncio.run(store.add_events("s", [event(f"p{number}", 1.7e9)]))
        session = asyncio.run(store.session("s"))
        assert session is not None
        assert len(session.interactions) == 6
