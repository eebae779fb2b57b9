"""Whatever is asked, cancelled and refused at once: everybody hears back, with their own answers, and nothing stays."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.search.limits import Limits
from indexer.search.query import Query, Timings
from indexer.service.engine.engine import Engine
from indexer.service.engine.observer import SilentObserver
from indexer.service.engine.overload import Overloaded
from indexer.service.settings import ServiceSettings
from tests.indexer.service.engine.conftest import SECONDS, Hold
from ubm_embed.data.session import Session

MAX_WAITING = 24


class EchoRetriever:
    """Answers with the names of the sessions; fails if one of them is bad."""

    version = SimpleNamespace(version=1)

    def answer(self, queries: Sequence[Query], timings: Timings) -> list[Any]:
        names = [query.session.session_id or "" for query in queries]
        if any(name.endswith("bad") for name in names):
            raise RuntimeError("a bad session")
        return names

    def has_compiled(self, rules: object) -> bool:
        return True

    def max_unread(self, query: Query) -> int:
        return query.k

    def num_unread(self, query: Query) -> int:
        return query.k


class EchoVersions:
    """Versions whose retriever echoes; it counts who has borrowed it."""

    def __init__(self) -> None:
        self.live = SimpleNamespace(remember=lambda queries: None)
        self.borrowed, self._lock = 0, threading.Lock()

    @contextmanager
    def borrow(self, pinned: int | None = None) -> Iterator[Any]:
        self._count(1)
        yield EchoRetriever()
        self._count(-1)

    def close(self) -> None:
        assert self.borrowed == 0

    def _count(self, change: int) -> None:
        with self._lock:
            self.borrowed += change


def engine_of(versions: Any, **options: Any) -> Engine:
    told = ServiceSettings(store="toy", **{"timeout": SECONDS, "max_waiting": MAX_WAITING} | options)
    return Engine(versions, told, Limits(), SilentObserver())


def queries_of(name: str, size: int, unread: int = 1, fate: str = "stays") -> list[Query]:
    """Queries of which the last is bad if that is their fate."""
    names = [f"{name}-{row}" for row in range(size - 1)] + [f"{name}-{'bad' if fate == 'bad' else size - 1}"]
    return [Query(Session((), one), k=unread) for one in names]


request = st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from(["stays", "stays", "goes", "bad"]))


@settings(max_examples=50)
@given(st.lists(request, max_size=20), st.booleans())
def test_everybody_hears_back_and_nothing_stays(requests: list[tuple[int, int, str]], is_held: bool) -> None:
    async def ask() -> None:
        versions = EchoVersions()
        engine, hold = engine_of(versions), Hold()
        await engine.start()
        first = asyncio.create_task(engine.call(hold))  # type: ignore[arg-type]
        if is_held:
            assert await asyncio.to_thread(hold.begun.wait, SECONDS)
        tasks = []
        for number, (size, unread, fate) in enumerate(requests):
            queries = queries_of(str(number), size, unread, fate)
            tasks.append(asyncio.create_task(engine.answer(queries)))
        await asyncio.sleep(0)
        for task, (*_, fate) in zip(tasks, requests, strict=True):
            if fate == "goes":
                task.cancel()
        hold.let_go()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await first
        for number, (result, (size, _, fate)) in enumerate(zip(results, requests, strict=True)):
            if isinstance(result, Overloaded):
                assert (result.reason, result.retry_after) == ("queue", 1)
            elif fate == "bad":
                assert isinstance(result, RuntimeError)
            elif fate == "goes":
                assert isinstance(result, asyncio.CancelledError)
            else:
                assert result.answers == tuple(f"{number}-{row}" for row in range(size))  # type: ignore[union-attr]
        await engine.close()
        assert (engine.waiting, versions.borrowed) == (0, 0)

    asyncio.run(ask())


def test_of_thousands_at_once_as_many_as_may_wait_are_answered() -> None:
    async def ask() -> list[Any]:
        engine, hold = engine_of(EchoVersions(), max_waiting=512), Hold()
        await engine.start()
        first = asyncio.create_task(engine.call(hold))  # type: ignore[arg-type]
        assert await asyncio.to_thread(hold.begun.wait, SECONDS)
        tasks = [asyncio.create_task(engine.answer(queries_of(str(row), 1))) for row in range(2_000)]
        await asyncio.sleep(0)
        assert engine.waiting == 512
        hold.let_go()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await first
        await engine.close()
        assert engine.waiting == 0
        return results

    results = asyncio.run(ask())
    refused = [result for result in results if isinstance(result, Overloaded)]
    answered = [row for row, result in enumerate(results) if not isinstance(result, Overloaded)]
    assert len(refused) == 2_000 - 511  # the call that held the lane waited, too
    assert [results[row].answers for row in answered] == [(f"{row}-0",) for row in answered]
