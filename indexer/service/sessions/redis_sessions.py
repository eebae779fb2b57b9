"""Sessions in Redis or Valkey, which several machines share.

Letters in names of keys: `ubm:NAME:session:ID` is a record, `ubm:NAME:counts:EXPERIMENT` a hash of sums.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from time import time
from typing import cast

from cachetools import LRUCache
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import RedisError

from indexer.service.sessions.circuit import Circuit
from indexer.service.sessions.event import Event
from indexer.service.sessions.kept_session import Changed, KeptSession
from indexer.service.sessions.record import DamagedRecord, decode, encode
from indexer.service.sessions.redis_access import EXPECTED_URL, server_of
from indexer.service.sessions.session_store import Added, SessionsBusy, SessionsUnavailable, ShownAnswer
from ubm_embed.data.session import Session

_LOG = logging.getLogger(__name__)
# Replaces a record unless another process did so since it was read; then its record is returned.
_REPLACE = """
local record = redis.call('GET', KEYS[1]) or ''
if record ~= ARGV[1] then return record end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
for i = 5, #ARGV, 2 do redis.call('HINCRBY', KEYS[2], ARGV[i], ARGV[i + 1]) end
if #ARGV > 4 then redis.call('PEXPIRE', KEYS[2], ARGV[4]) end
return false
"""
_COUNTS_TTL = 90 * 86_400.0  # seconds after the last change
_CONNECTIONS = 32
_ATTEMPTS = 100  # at a session that others change as well
_REPLIES = 2  # that may take all of their time; a new connection asks more often
_LATE = 4  # times the timeout: twice what a request may take
_SEEN_BYTES = 8 << 20


class RedisSessions:
    """Sessions as records of a Redis server, changed by compare-and-swap.

    Args:
        url: redis://, rediss:// or unix://, with a number of a database, a user and a password if need be.
        name: services with the same one share their sessions.
        experiment: whose answers are counted.
        ttl: seconds after its last event or answer in which a session is kept.
        outcome_window: seconds within which an event counts for an answer.
        timeout: seconds in which the server must answer; in twice as many it must have done all that a request needs.
        max_wait: seconds in which a request must have its turn and its answer.
        now: seconds since 1970.

    Raises:
        ValueError: not such a URL. The error leaves it out, as it may hold a password.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        experiment: str = "",
        ttl: float,
        outcome_window: float,
        timeout: float = 0.25,
        max_wait: float = 1.0,
        now: Callable[[], float] = time,
    ) -> None:
        self._redis = _client(url, timeout)
        self._replace = self._redis.register_script(_REPLACE)
        self._prefix, self._counts_key = f"ubm:{name}:session:", f"ubm:{name}:counts:{experiment}"
        self._ttl, self._window, self._now = ttl, outcome_window, now
        self._timeout, self._max_wait = timeout, max_wait
        self._circuit = Circuit(server_of(url), (RedisError, OSError, TimeoutError), late=_LATE * timeout)
        # One for each connection. A session always takes the same turn: its changes here never collide.
        self._turns = [asyncio.Lock() for _ in range(_CONNECTIONS)]
        # Records as they were last seen here, mostly in the same request: the script says if they changed since.
        self._seen: LRUCache[str, bytes] = LRUCache(_SEEN_BYTES, getsizeof=len)
        self._damaged = 0

    async def session(self, session_id: str) -> Session | None:
        """As `SessionStore`."""
        async with self._turn(session_id):
            return self._kept(await self._read(session_id)).session(session_id)

    async def add_events(self, session_id: str, events: Sequence[Event]) -> Added:
        """As `SessionStore`."""
        return await self._change(session_id, lambda kept: kept.with_events(events, self._now(), self._window))

    async def add_answer(self, session_id: str, answer: ShownAnswer) -> None:
        """As `SessionStore`."""
        await self._change(session_id, lambda kept: kept.with_answer(answer, self._now(), self._window))

    async def counts(self) -> Mapping[str, int]:
        """As `SessionStore`."""
        async with self._turn(""):
            sums = await self._redis.hgetall(self._counts_key)
        return {cast(bytes, name).decode(): int(value) for name, value in sums.items()}

    async def gauges(self) -> Mapping[str, int]:
        """As `SessionStore`."""
        return {"damaged": self._damaged}

    async def close(self) -> None:
        """As `SessionStore`."""
        await self._redis.aclose()

    async def _change(self, session_id: str, change: Callable[[KeptSession], Changed]) -> Added:
        async with self._turn(session_id):
            record = self._seen.get(session_id, b"")  # if it is wrong, the script says what is right
            for _ in range(_ATTEMPTS):
                changed = change(self._kept(record))
                if changed.session == KeptSession():  # nothing that could begin a session
                    current = await self._read(session_id) or None
                else:
                    current = await self._swap(session_id, record, changed)
                if current is None:
                    return changed.added
                record = current
        raise SessionsUnavailable("other processes change the session all the time")

    async def _read(self, session_id: str) -> bytes:
        record = cast(bytes | None, await self._redis.get(self._prefix + session_id)) or b""
        self._remember(session_id, record)
        return record

    async def _swap(self, session_id: str, record: bytes, changed: Changed) -> bytes | None:
        """None once the changed session is kept; otherwise the record that is kept now."""
        replacement, steps = encode(changed.session), [part for step in changed.counts.items() for part in step]
        current: bytes | None = await self._replace(
            keys=[self._prefix + session_id, self._counts_key],
            args=[record, replacement, round(self._ttl * 1000), round(_COUNTS_TTL * 1000), *steps],
        )
        self._remember(session_id, replacement if current is None else current)
        return current

    def _remember(self, session_id: str, record: bytes) -> None:
        self._seen.pop(session_id, None)
        if record:
            self._seen[session_id] = record

    def _kept(self, record: bytes) -> KeptSession:
        if not record:
            return KeptSession()
        try:
            return decode(record)
        except DamagedRecord as error:
            if not self._damaged:
                _LOG.warning("a session in Redis cannot be read and is dropped, as others will be: %s", error)
            self._damaged += 1
            return KeptSession()

    @contextlib.asynccontextmanager
    async def _turn(self, session_id: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._max_wait), self._turns[hash(session_id) % _CONNECTIONS]:
                with self._circuit.guard():
                    async with asyncio.timeout(_REPLIES * self._timeout):
                        yield
        except TimeoutError:
            raise SessionsBusy("too many requests wait for Redis") from None


def _client(url: str, timeout: float) -> Redis:
    # A connection that the server closed while it was idle is opened again at once.
    retry = Retry(NoBackoff(), 1, supported_errors=(LostConnection,))
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=None,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=retry,
            retry_on_error=[LostConnection],  # redis 5 asks for it here, too
        )
        pool.make_connection()  # type: ignore[no-untyped-call] # raises for options that there are not
    except (ValueError, TypeError):
        raise ValueError(f"sessions: {EXPECTED_URL}") from None
    return Redis.from_pool(pool)
