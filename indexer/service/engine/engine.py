"""The engine: what answers the requests of one worker, in batches, from the live version and pinned ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from indexer.search.answer import Answer
from indexer.search.background import yield_to_others
from indexer.search.limits import Limits
from indexer.search.live_retriever import LiveRetriever
from indexer.search.query import Query, Timings
from indexer.search.ranking import Rules
from indexer.search.retriever import Retriever
from indexer.service.engine.admission import Admission
from indexer.service.engine.lane import Finished, Lane
from indexer.service.engine.observer import EngineObserver, SilentObserver
from indexer.service.engine.overload import Overloaded
from indexer.service.engine.versions import Verify, Versions
from indexer.service.engine.work import Work
from indexer.service.settings import ServiceSettings
from indexer.versions.version import StoreVersion

T = TypeVar("T")

# Of a batch. An interaction that is not cached takes a millisecond or two, as much as a session of cached ones.
_MAX_UNREAD = 16
# Requests for more matches, and calls that count as more sessions, would hold others up.
_MAX_FAST_K, _MAX_FAST_COST = 100, 8


@dataclass(frozen=True, slots=True)
class Called(Generic[T]):
    """What a call returned, of which version, and where its time went: all of its own counts as search."""

    value: T
    version: int
    timings: Timings


@dataclass(frozen=True, slots=True)
class Answered:
    """The answers to the queries of one request, all of one version, and where their time went.

    The time of a batch counts for each of its requests, which has waited for all of it.
    """

    answers: tuple[Answer, ...]
    timings: Timings
    version: int


class Engine:
    """Answers from the live version of a store, and from pinned ones beside it. Use `open`, then `start`.

    One thread, the fast lane, owns the answers: it takes the requests that wait, answers them at once, and never waits
    for more. What would hold others up goes to a second thread, the slow lane, which leaves the core to the first:
    rules that were not compiled yet, explanations, very many matches, a session of which hardly anything is cached. All
    methods but `open` are for the event loop's thread.
    """

    def __init__(self, versions: Versions, settings: ServiceSettings, limits: Limits, observer: EngineObserver) -> None:
        self._versions, self._limits, self._timeout = versions, limits, settings.timeout
        self._admission = Admission(settings.max_waiting, settings.timeout, observer.waiting)
        told = (versions.borrow, self._deliver, versions.live.remember, observer)
        self._fast = Lane("fast", *told, max_sessions=settings.max_batch, max_interactions=_MAX_UNREAD)
        # One at a time: none of them waits for another's condition.
        self._slow = Lane("slow", *told, max_sessions=1, max_interactions=1, background=True)
        self._reloading = ThreadPoolExecutor(1, "reload", yield_to_others)
        self._is_open = False

    @classmethod
    def open(
        cls,
        settings: ServiceSettings,
        pinned: Sequence[int] = (),
        observer: EngineObserver | None = None,
        verify: Verify | None = None,
        *,
        queries_per_session: int = 1,
    ) -> Self:
        """The engine over a store, its versions opened, verified and warm; it takes seconds.

        Args:
            pinned: numbers of versions that are kept open beside the live one.
            observer: is told about batches, what waits, and versions that are refused.
            verify: is asked whether a version may answer, besides what `readiness` looks at.
            queries_per_session: 2 if an answer is drafted from two lists: a request may then have as many more queries.

        Raises:
            NotFound, InvalidData, Conflict, ValueError: a version or a predictor does not open, or is not ready.
        """
        observer = observer or SilentObserver()
        sessions = queries_per_session * settings.max_sessions
        limits = Limits(k=settings.max_k, sessions=sessions, interactions=settings.max_interactions)
        versions = Versions.open(settings, pinned, observer.version_refused, limits, verify)
        return cls(versions, settings, limits, observer)

    async def start(self) -> None:
        """Begin to answer, for callers on the event loop that runs now."""
        loop = asyncio.get_running_loop()
        for lane in (self._fast, self._slow):
            lane.start(loop)
        self._is_open = True

    async def close(self) -> None:
        """Refuse new requests, answer those that wait, and let the versions go."""
        self._is_open = False
        for close in (self._fast.close, self._slow.close, self._reloading.shutdown, self._versions.close):
            await asyncio.to_thread(close)

    @property
    def live(self) -> LiveRetriever:
        """What looks for new versions."""
        return self._versions.live

    @property
    def version(self) -> StoreVersion:
        """The live version that answers now."""
        return self._versions.live.version

    @property
    def error(self) -> Exception | None:
        """Why the version that is live in the store does not answer; None if it does."""
        return self._versions.live.error

    @property
    def readiness(self) -> list[str]:
        """What keeps it from answering now; empty if nothing does.

        Versions were verified before they began to answer (see `readiness.problems`); this is about what has happened
        since, and takes microseconds. A version that was refused keeps nothing from answering: see `error`.
        """
        return self._versions.problems() if self._is_open else ["the engine is not running"]

    @property
    def waiting(self) -> int:
        """Sessions that wait for their answers."""
        return self._admission.waiting

    def has_room(self, requests: int) -> bool:
        """Whether another request, for a session, may wait after this many that are on their way."""
        return self._admission.has_room(1, self._fast.queue, ahead=requests)

    @property
    def retry_after(self) -> int:
        """Whole seconds after which nothing of what waits now will wait, from 1 to 60."""
        return self._fast.queue.retry_after

    async def answer(
        self, queries: Sequence[Query], *, pinned: int | None = None, arrival: float | None = None
    ) -> Answered:
        """The answers of one request, all of one version.

        Args:
            pinned: the number of a version that was opened beside the live one; None for the live one.
            arrival: monotonic seconds at which the request came, from when its time runs; None for now.

        Raises:
            Overloaded: too much waits, or its turn did not come in time.
            InvalidData, ValueError: as of `Retriever.answer`.
            NotFound: no such version is open.
        """
        self._limits.check_queries(queries)
        work = self._new_work(len(queries), pinned, arrival)
        work.queries = queries
        if queries:
            await self._done(work, self._lane_for(queries, pinned))
        return Answered(tuple(work.answers), work.timings, work.version or self.version.version)

    async def call(
        self,
        function: Callable[[Retriever], T],
        *,
        cost: int = 1,
        rules: Rules | None = None,
        pinned: int | None = None,
        arrival: float | None = None,
    ) -> Called[T]:
        """What a function returns of the retriever, called by the thread that answers.

        Args:
            cost: sessions that it counts as: about as many texts as it lets the model read.
            rules: those that it asks with, if any: if they are not compiled, it must not hold up others.
            pinned, arrival: as of `answer`.

        Raises:
            Overloaded, NotFound: as of `answer`; and what the function raises.
        """
        work = self._new_work(cost, pinned, arrival)
        work.call = function
        is_fast = cost <= _MAX_FAST_COST and self._has_compiled(rules, pinned)
        await self._done(work, self._fast if is_fast else self._slow)
        return Called(work.value, work.version, work.timings)

    async def reload(self) -> bool:
        """Look for a new version now; whether one took over. What keeps one from it is in `error`."""
        return await asyncio.get_running_loop().run_in_executor(self._reloading, self._versions.live.check)

    def _new_work(self, sessions: int, pinned: int | None, arrival: float | None) -> Work:
        if not self._is_open:
            raise ValueError("the engine is not running")
        arrival = time.monotonic() if arrival is None else arrival
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        return Work(future, sessions, arrival, arrival + self._timeout, pinned)

    def _lane_for(self, queries: Sequence[Query], pinned: int | None) -> Lane:
        with self._versions.borrow(pinned) as retriever:
            is_slow = any(_holds_others_up(retriever, query) for query in queries)
        return self._slow if is_slow else self._fast

    def _has_compiled(self, rules: Rules | None, pinned: int | None) -> bool:
        with self._versions.borrow(pinned) as retriever:
            return rules is None or retriever.has_compiled(rules)

    async def _done(self, work: Work, lane: Lane) -> None:
        """Wait until a lane has worked it off."""
        age = time.monotonic() - work.arrival
        self._admission.admit(work.sessions, lane.queue, age, turn=work.turn)
        lane.put(work)
        expiry = asyncio.get_running_loop().call_later(max(0.0, self._timeout - age), _expire, work, lane)
        try:
            await work.future
        finally:
            expiry.cancel()

    def _deliver(self, lane: Lane, finished: Finished) -> None:
        """Tell those who wait for a batch, and count it."""
        lane.queue.rate.add(finished.sessions, finished.seconds)
        for work in finished.works:
            self._admission.finish(work.sessions, lane.queue, turn=work.turn)
            if work.future.done():  # its caller has gone
                continue
            if work.dropped is not None:
                work.future.set_exception(Overloaded(lane.queue.retry_after, "timeout"))
            elif work.error is not None:
                work.future.set_exception(work.error)
            else:
                work.future.set_result(None)


def _holds_others_up(retriever: Retriever, query: Query) -> bool:
    if query.explain or query.k > _MAX_FAST_K or not retriever.has_compiled(query.rules):
        return True
    may_be_unread = len(query.session.interactions) + len(query.negatives) > _MAX_UNREAD
    return may_be_unread and retriever.max_unread(query) > _MAX_UNREAD


def _expire(work: Work, lane: Lane) -> None:
    """Refuse a request whose turn has not come in time; the lane drops it when it comes to it."""
    if not work.taken and not work.future.done():
        work.future.set_exception(Overloaded(lane.queue.retry_after, "timeout"))
