"""The engine: what answers the requests of one worker, in batches, from the live version and pinned ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from indexer.search.answer import Answer
from indexer.search.limits import Limits
from indexer.search.live_retriever import LiveRetriever
from indexer.search.query import Query, Timings
from indexer.search.retriever import Retriever
from indexer.service.engine.observer import EngineObserver, SilentObserver
from indexer.service.settings import ServiceSettings
from indexer.versions.version import StoreVersion
from ubm_embed.errors import NotFound
from ubm_embed.inference.predictor import Predictor

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Called(Generic[T]):
    """What a call returned, of which version, and where its time went."""

    value: T
    version: int
    timings: Timings


@dataclass(frozen=True, slots=True)
class Answered:
    """The answers to the queries of one request, all of one version, and where their time went."""

    answers: tuple[Answer, ...]
    timings: Timings
    version: int


class Engine:
    """Answers from the live version of a store, and from pinned ones beside it. Use `open`.

    Attributes:
        live: what answers.
    """

    def __init__(self, live: LiveRetriever, pinned: dict[int, Retriever], observer: EngineObserver) -> None:
        self.live, self._pinned, self._observer = live, pinned, observer
        self._pool = ThreadPoolExecutor(1, "engine")

    @classmethod
    def open(
        cls, settings: ServiceSettings, pinned: Sequence[int] = (), observer: EngineObserver | None = None
    ) -> Self:
        """The engine over a store, its versions opened, verified and warm.

        Args:
            pinned: numbers of versions that are kept open beside the live one.

        Raises:
            NotFound, InvalidData, Conflict, ValueError: a version or a predictor does not open.
        """
        limits = Limits(k=settings.max_k, sessions=settings.max_sessions, interactions=settings.max_interactions)
        folders = filter(None, (settings.purchase_intention, settings.remaining_length))
        predictors = [Predictor.from_pretrained(folder, device=settings.device) for folder in folders]
        live = LiveRetriever(
            settings.store,
            device=settings.device,
            predictors=predictors,
            limits=limits,
            interval=settings.reload_seconds,
        )
        opened = {
            number: Retriever.open(settings.store, version=number, device=settings.device, limits=limits)
            for number in dict.fromkeys(pinned)
        }
        return cls(live, opened, observer or SilentObserver())

    async def start(self) -> None:
        """Begin to answer, for callers on the event loop that runs now."""

    async def close(self) -> None:
        """Finish what waits, and let the versions go."""
        self._pool.shutdown()
        self.live.close()
        for retriever in self._pinned.values():
            retriever.close()

    @property
    def version(self) -> StoreVersion:
        """The live version that answers now."""
        return self.live.version

    @property
    def error(self) -> Exception | None:
        """Why the version that is live now does not answer; None if it does."""
        return self.live.error

    @property
    def readiness(self) -> list[str]:
        """What keeps it from answering now; empty if nothing does."""
        return []

    async def answer(self, queries: Sequence[Query], *, pinned: int | None = None) -> Answered:
        """The answers of one request, all of one version.

        Args:
            pinned: the number of a version that was opened beside the live one; None for the live one.

        Raises:
            Overloaded: too much waits, or its turn did not come in time.
            InvalidData: as of `Retriever.answer`.
            NotFound: no such version is open.
        """
        called = await self.call(lambda retriever: tuple(_answers(retriever, queries)), pinned=pinned)
        return Answered(called.value, called.timings, called.version)

    async def call(self, work: Callable[[Retriever], T], *, cost: int = 1, pinned: int | None = None) -> Called[T]:
        """What a function returns of the retriever, called by the thread that answers.

        Args:
            cost: sessions that it counts as.

        Raises:
            Overloaded, NotFound: as of `answer`; and what the function raises.
        """
        if pinned is not None and pinned not in self._pinned:
            raise NotFound(f"version {pinned} is not open")

        def run() -> Called[T]:
            with self.live.borrow() if pinned is None else nullcontext(self._pinned[pinned]) as retriever:
                started = time.perf_counter()
                value = work(retriever)
                timings = Timings(search=time.perf_counter() - started)
                return Called(value, retriever.version.version, timings)

        return await asyncio.get_running_loop().run_in_executor(self._pool, run)

    async def reload(self) -> bool:
        """Look for a new version now; whether one took over. What keeps one from it is in `error`."""
        return await asyncio.to_thread(self.live.check)


def _answers(retriever: Retriever, queries: Sequence[Query]) -> list[Answer]:
    return [retriever.recommend(one.session, one.k, one.rules, explain=one.explain) for one in queries]
