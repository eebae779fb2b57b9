"""A request that waits for the engine, and what has become of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from typing import Any

from indexer.search.answer import Answer
from indexer.search.query import Query, Timings
from indexer.search.retriever import Retriever
from indexer.service.engine.observer import DropReason

_PARTS = tuple(part.name for part in fields(Timings) if part.name != "queue")
# A request gives at most as many of its sessions at a time: what comes after a large one waits for these.
SESSIONS_A_TURN = 8
# Opens a version: a pinned one by its number, or the live one.
Borrow = Callable[[int | None], AbstractContextManager[Retriever]]


@dataclass(slots=True, eq=False)
class Work:
    """One request: queries, or a function that is called with the retriever.

    The event loop makes it and waits for its future; all else belongs to the thread that works it off.

    Attributes:
        sessions: that it counts as.
        arrival, deadline: monotonic seconds.
        pinned: the version that answers; None for the live one.
        taken: how many of its parts have begun: each query is one, and so is a call.
        answers: to the first of its queries.
        value: what the call returned.
        error: why it has failed, if it has.
        dropped: why it was not worked off, if it was not.
    """

    future: asyncio.Future[Any]
    sessions: int
    arrival: float
    deadline: float
    pinned: int | None = None
    queries: Sequence[Query] = ()
    call: Callable[[Retriever], Any] | None = None
    taken: int = 0
    answers: list[Answer] = field(default_factory=list)
    value: Any = None
    error: Exception | None = None
    dropped: DropReason | None = None
    timings: Timings = field(default_factory=Timings)
    _lease: AbstractContextManager[Retriever] | None = None
    _retriever: Retriever | None = None

    def retriever(self, borrow: Borrow) -> Retriever:
        """The version that answers all of it, which stays open until `release`."""
        if self._retriever is None:
            lease = borrow(self.pinned)
            self._retriever, self._lease = lease.__enter__(), lease
        return self._retriever

    @property
    def turn(self) -> int:
        """Sessions that are worked off in one turn; a call is never cut."""
        return self.sessions if self.call is not None else min(self.sessions, SESSIONS_A_TURN)

    @property
    def is_taken(self) -> bool:
        """Whether all of it has begun."""
        return self.taken >= (len(self.queries) if self.call is None else 1)

    @property
    def version(self) -> int:
        """Number of the version that answers; 0 before it began."""
        return 0 if self._retriever is None else self._retriever.version.version

    def release(self) -> None:
        """Let go of the version."""
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.__exit__(None, None, None)

    def reason_to_drop(self, now: float) -> DropReason | None:
        """Why nobody waits for it any more, if so."""
        if self.future.cancelled():
            return "cancelled"
        return "timeout" if now >= self.deadline else None

    def add_timings(self, batch: Timings) -> None:
        """Add the time of a batch to its own: it has waited for all of it."""
        for name in _PARTS:
            setattr(self.timings, name, getattr(self.timings, name) + getattr(batch, name))

    def count_queue(self, now: float) -> None:
        """Count the time that no batch of its own took as waiting."""
        self.timings.queue = max(0.0, now - self.arrival - sum(getattr(self.timings, name) for name in _PARTS))
