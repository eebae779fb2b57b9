"""Sessions in the memory of this process."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from indexer.service.sessions.event import Event
from indexer.service.sessions.kept_session import Changed, KeptSession
from indexer.service.sessions.record import decode, encode
from indexer.service.sessions.session_store import Added, ShownAnswer
from ubm_embed.data.session import Session

_OVERHEAD = 400  # bytes of a session's entry besides its id and its record, measured


class _Entry(NamedTuple):
    expires: float
    record: bytes


class MemorySessions:
    """Sessions as records, the longest untouched first: it is the first to expire and the first to make room.

    Records take a fraction of the memory of their objects, and the garbage collector does not look through them.

    Args:
        ttl: seconds after its last event or answer in which a session is kept.
        max_sessions, max_bytes: the most that is kept.
        outcome_window: seconds within which an event counts for an answer.
        clock: seconds that never jump.
        now: seconds since 1970.
    """

    def __init__(
        self,
        *,
        ttl: float,
        max_sessions: int,
        max_bytes: int,
        outcome_window: float,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._ttl, self._max_sessions, self._max_bytes, self._window = ttl, max_sessions, max_bytes, outcome_window
        self._clock, self._now = clock, now
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0
        self._evicted = 0
        self._counts: Counter[str] = Counter()

    def record(self, session_id: str) -> bytes | None:
        """What is kept of a session (`record.decode`); None if nothing is."""
        self._drop_expired()
        entry = self._entries.get(session_id)
        return None if entry is None else entry.record

    async def session(self, session_id: str) -> Session | None:
        """As `SessionStore`."""
        return self._kept(session_id).session(session_id)

    async def add_events(self, session_id: str, events: Sequence[Event]) -> Added:
        """As `SessionStore`."""
        return self._keep(session_id, self._kept(session_id).with_events(events, self._now(), self._window))

    async def add_answer(self, session_id: str, answer: ShownAnswer) -> None:
        """As `SessionStore`."""
        self._keep(session_id, self._kept(session_id).with_answer(answer, self._now(), self._window))

    async def counts(self) -> Mapping[str, int]:
        """As `SessionStore`."""
        return dict(self._counts)

    async def gauges(self) -> Mapping[str, int]:
        """As `SessionStore`."""
        self._drop_expired()
        return {"sessions": len(self._entries), "bytes": self._bytes, "evicted": self._evicted}

    async def close(self) -> None:
        """As `SessionStore`."""

    def _kept(self, session_id: str) -> KeptSession:
        record = self.record(session_id)
        return KeptSession() if record is None else decode(record)

    def _keep(self, session_id: str, changed: Changed) -> Added:
        self._drop(session_id)
        if changed.session != KeptSession():
            entry = _Entry(self._clock() + self._ttl, encode(changed.session))
            self._entries[session_id] = entry
            self._bytes += _size(session_id, entry)
            self._make_room()
        self._counts.update(changed.counts)
        return changed.added

    def _drop_expired(self) -> None:
        now = self._clock()
        while self._entries and next(iter(self._entries.values())).expires <= now:
            self._drop(next(iter(self._entries)))

    def _make_room(self) -> None:
        while len(self._entries) > self._max_sessions or self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))
            self._evicted += 1

    def _drop(self, session_id: str) -> None:
        entry = self._entries.pop(session_id, None)
        if entry is not None:
            self._bytes -= _size(session_id, entry)


def _size(session_id: str, entry: _Entry) -> int:
    return _OVERHEAD + len(session_id) + len(entry.record)
