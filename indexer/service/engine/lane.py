"""A thread that works requests off in batches, and hands their results to the event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import NamedTuple

from indexer.search.background import yield_to_others
from indexer.search.query import Query, Timings
from indexer.search.retriever import Retriever
from indexer.service.engine.admission import Queue
from indexer.service.engine.observer import EngineObserver, LaneName
from indexer.service.engine.turns import Batch, Turns
from indexer.service.engine.work import Borrow, Work

_LOG = logging.getLogger(__name__)


_Member = tuple[Work, Query]


class Finished(NamedTuple):
    """What a batch came to.

    Attributes:
        works: requests that are done, have failed or were dropped.
        sessions, seconds: of the whole batch.
    """

    works: Sequence[Work]
    sessions: int
    seconds: float


class Lane:
    """One thread that takes what waits, works it off, and never waits for more.

    The batch's requests are told at once, by one call on the event loop.

    Attributes:
        queue: what waits for it, as the event loop counts it.

    Args:
        name: for metrics.
        borrow: opens versions.
        deliver: called on the event loop with the lane and what a batch came to.
        answered: called with queries that were answered.
        observer: is told about batches.
        max_sessions, max_interactions: of a batch, as of `Turns`.
        background: whether its thread leaves the core to others.
    """

    def __init__(
        self,
        name: LaneName,
        borrow: Borrow,
        deliver: Callable[[Lane, Finished], None],
        answered: Callable[[Sequence[Query]], None],
        observer: EngineObserver,
        *,
        max_sessions: int,
        max_interactions: int,
        background: bool = False,
    ) -> None:
        self._name, self._borrow, self._observer = name, borrow, observer
        self._deliver, self._answered = deliver, answered
        self._background = background
        self.queue = Queue()
        self._turns = Turns(max_sessions, max_interactions, self._num_unread)
        self._inbox: SimpleQueue[Work | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"{name} lane", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to work; results are delivered on this loop."""
        self._loop = loop
        self._thread.start()

    def put(self, work: Work) -> None:
        """Let a request wait for its turn."""
        self._inbox.put(work)

    def close(self) -> None:
        """Work off what waits, then end the thread; returns once it has ended."""
        self._inbox.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        if self._background:
            yield_to_others()
        is_open = True
        while is_open or len(self._turns):
            is_open = self._receive() and is_open
            if len(self._turns):
                self._work()

    def _receive(self) -> bool:
        """Queue up what has come, waiting only if nothing waits; whether more may come."""
        with suppress(Empty):
            while (work := self._inbox.get(block=not len(self._turns))) is not None:
                self._turns.add(work)
            return False
        return True

    def _work(self) -> None:
        started = time.monotonic()
        batch = self._turns.take(started)
        try:
            self._report(batch)
            self._answer(batch)
        except Exception as error:  # a fault of the engine's own must not leave callers waiting
            _LOG.exception("a batch failed")
            for work in batch.works():
                work.error = work.error or error
        self._finish(batch, started)

    def _report(self, batch: Batch) -> None:
        for work in batch.dropped:
            self._observer.dropped(work.dropped or "cancelled", work.sessions)
        if batch.sessions:
            self._observer.batch_released(self._name, batch.reason or "empty", batch.sessions, batch.interactions)

    def _answer(self, batch: Batch) -> None:
        by_version: dict[int, list[_Member]] = {}
        for work, query in batch.queries:
            if work.error is None:
                by_version.setdefault(id(work.retriever(self._borrow)), []).append((work, query))
        for members in by_version.values():
            self._answer_members(members[0][0].retriever(self._borrow), members)
        for work in batch.calls:
            self._call(work)

    def _answer_members(self, retriever: Retriever, members: Sequence[_Member]) -> None:
        """Answer queries at once; if that fails, one by one, so that only the faulty one gets the error."""
        timings, queries = Timings(), [query for _, query in members]
        try:
            answers = retriever.answer(queries, timings)
        except Exception as error:
            if len(members) == 1:
                members[0][0].error = error
            for member in members:
                if member[0].error is None:
                    self._answer_members(retriever, [member])
            return
        for (work, _), answer in zip(members, answers, strict=True):
            work.answers.append(answer)
        for work in dict.fromkeys(work for work, _ in members):
            work.add_timings(timings)
        self._answered(queries)

    def _call(self, work: Work) -> None:
        assert work.call is not None
        started = time.monotonic()
        try:
            work.value = work.call(work.retriever(self._borrow))
        except Exception as error:
            work.error = error
        work.timings.search = time.monotonic() - started

    def _finish(self, batch: Batch, started: float) -> None:
        """Let go of the requests that are over, and tell the event loop."""
        over = [work for work in batch.works() if work.is_taken or work.error is not None] + batch.dropped
        now = time.monotonic()
        for work in over:
            work.count_queue(now)
            _release(work)
        finished = Finished(over, batch.sessions, now - started)
        with suppress(RuntimeError):  # the loop is closed, and nobody waits
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._deliver, self, finished)

    def _num_unread(self, work: Work, query: Query) -> int:
        try:
            return work.retriever(self._borrow).num_unread(query)
        except Exception as error:
            work.error = error
            return 0


def _release(work: Work) -> None:
    try:
        work.release()
    except Exception:  # its answer is there, and others wait
        _LOG.exception("a version was not closed")
