"""Whose turn it is: which of the requests that wait make the next batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from indexer.search.query import Query
from indexer.service.engine.observer import ReleaseReason
from indexer.service.engine.work import SESSIONS_A_TURN, Work


@dataclass(slots=True)
class Batch:
    """What is worked off together.

    Attributes:
        queries: with the requests that they belong to, in their order.
        calls: requests that call a function.
        dropped: requests that nobody waits for any more.
        sessions: of both.
        interactions: those that are not cached.
        reason: why it is not larger.
    """

    queries: list[tuple[Work, Query]] = field(default_factory=list)
    calls: list[Work] = field(default_factory=list)
    dropped: list[Work] = field(default_factory=list)
    sessions: int = 0
    interactions: int = 0
    reason: ReleaseReason | None = None

    def add(self, work: Work, sessions: int, interactions: int) -> None:
        """Take the next part of a request."""
        if work.call is None:
            self.queries.append((work, work.queries[work.taken]))
        else:
            self.calls.append(work)
        work.taken += 1
        self.sessions += sessions
        self.interactions += interactions

    def works(self) -> list[Work]:
        """The requests of which it has a part, each once."""
        return list(dict.fromkeys([*(work for work, _ in self.queries), *self.calls]))


class Turns:
    """Requests in the order of their arrival; one that is not finished with its turn queues up again.

    Not for several threads.

    Args:
        max_sessions, max_interactions: of a batch; interactions are counted that are not cached. The first session of a
            batch may have any number of them.
        num_unread: how many interactions of a request's query are not cached.
    """

    def __init__(self, max_sessions: int, max_interactions: int, num_unread: Callable[[Work, Query], int]) -> None:
        self._max_sessions, self._max_interactions, self._num_unread = max_sessions, max_interactions, num_unread
        self._waiting: deque[Work] = deque()

    def __len__(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    def add(self, work: Work) -> None:
        """Let a request queue up."""
        self._waiting.append(work)

    def take(self, now: float) -> Batch:
        """The next batch. Requests of which it has a part only queue up again."""
        batch, unfinished = Batch(), list[Work]()
        while self._waiting and batch.reason is None:
            work = self._waiting.popleft()
            if work.error is not None:  # a part of it has failed, and its caller was told
                continue
            if (drop := work.reason_to_drop(now)) is not None:
                work.dropped = drop
                batch.dropped.append(work)
                continue
            before = work.taken
            batch.reason = self._fill(batch, work)
            if not work.is_taken and work.taken > before:
                unfinished.append(work)
            elif not work.is_taken:
                self._waiting.appendleft(work)
        self._waiting.extend(unfinished)
        batch.reason = batch.reason or ("slice" if unfinished else "empty")
        return batch

    def _fill(self, batch: Batch, work: Work) -> ReleaseReason | None:
        """Take a request's next parts into a batch; why not all of its turn, if the batch may not have them."""
        for _ in range(SESSIONS_A_TURN):
            if work.is_taken:
                return None
            sessions, interactions = self._cost(work)
            if batch.sessions and batch.sessions + sessions > self._max_sessions:
                return "sessions"
            if batch.sessions and batch.interactions + interactions > self._max_interactions:
                return "interactions"
            batch.add(work, sessions, interactions)
        return None

    def _cost(self, work: Work) -> tuple[int, int]:
        """Sessions and interactions that are not cached, of the next part of a request."""
        if work.call is not None:
            return work.sessions, work.sessions
        return 1, self._num_unread(work, work.queries[work.taken])
