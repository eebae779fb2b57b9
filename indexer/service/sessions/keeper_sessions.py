"""Sessions that another process keeps for all workers of this machine."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from indexer.service.sessions.circuit import Circuit
from indexer.service.sessions.event import Event
from indexer.service.sessions.keeper_messages import (
    AddAnswer,
    AddEvents,
    AskCounts,
    AskGauges,
    AskSession,
    Request,
    framed,
    read_frame,
)
from indexer.service.sessions.record import decode
from indexer.service.sessions.session_store import Added, SessionsBusy, ShownAnswer
from ubm_embed.data.session import Session

T = TypeVar("T")
_MAX_PENDING = 2_000  # requests of one worker that wait for their answers, and
_MAX_UNSENT = 64 << 20  # bytes of them that wait to be sent
_PAUSE = 0.1  # seconds between two attempts to reach it: it is on this machine, and soon replaced
_LAST_LOOK = 0.01  # seconds to read answers that are there: a busy event loop sees first that their time is over
_LATE = 0.1  # seconds by which the event loop is late if it is busy
_RECORD = msgspec.msgpack.Decoder[bytes | None](bytes | None)
_ADDED = msgspec.msgpack.Decoder[Added](Added)
_NOTHING = msgspec.msgpack.Decoder[None](None)
_NUMBERS = msgspec.msgpack.Decoder[dict[str, int]](dict[str, int])


class KeeperSessions:
    """Sessions of the keeper at a Unix socket (`run_keeper`). Requests follow each other without waiting for answers.

    Args:
        timeout: seconds in which the keeper must answer.
    """

    def __init__(self, socket: Path, *, timeout: float = 0.75) -> None:
        self._socket, self._timeout = socket, timeout
        self._connection: _Connection | None = None
        self._connecting = asyncio.Lock()
        self._circuit = Circuit("the keeper of sessions", (OSError, TimeoutError), pause=_PAUSE, late=timeout + _LATE)

    async def session(self, session_id: str) -> Session | None:
        """As `SessionStore`."""
        record = await self._ask(AskSession(session_id), _RECORD)
        return None if record is None else decode(record).session(session_id)

    async def add_events(self, session_id: str, events: Sequence[Event]) -> Added:
        """As `SessionStore`."""
        return await self._ask(AddEvents(session_id, tuple(events)), _ADDED)

    async def add_answer(self, session_id: str, answer: ShownAnswer) -> None:
        """As `SessionStore`."""
        await self._ask(AddAnswer(session_id, answer), _NOTHING)

    async def counts(self) -> Mapping[str, int]:
        """As `SessionStore`."""
        return await self._ask(AskCounts(), _NUMBERS)

    async def gauges(self) -> Mapping[str, int]:
        """As `SessionStore`."""
        return await self._ask(AskGauges(), _NUMBERS)

    async def close(self) -> None:
        """As `SessionStore`."""
        if self._connection is not None:
            await self._connection.close()

    async def _ask(self, request: Request, answer: msgspec.msgpack.Decoder[T]) -> T:
        with self._circuit.guard():
            began = time.monotonic()
            try:
                async with asyncio.timeout(self._timeout):
                    connection = await self._connected()
                    return answer.decode(await connection.ask(framed(request)))
            except TimeoutError:
                await asyncio.sleep(_LAST_LOOK)
                if self._connection is not None and self._connection.last_answer > began:
                    raise SessionsBusy("the keeper of sessions has much to do") from None
                raise

    async def _connected(self) -> _Connection:
        async with self._connecting:
            if self._connection is None or self._connection.is_lost:
                reader, writer = await asyncio.open_unix_connection(self._socket)
                self._connection = _Connection(reader, writer)
            return self._connection


class _Connection:
    """Requests of one worker to the keeper, which answers in their order.

    Attributes:
        last_answer: when it last answered, by the monotonic clock.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.last_answer = 0.0
        self._pending = deque[asyncio.Future[bytes]]()
        self._reading = asyncio.create_task(self._read())

    @property
    def is_lost(self) -> bool:
        """Whether nothing more will be answered."""
        return self._reading.done()

    async def ask(self, request: bytes) -> bytes:
        """The answer to a request.

        Raises:
            SessionsBusy: too many requests wait.
            ConnectionError: the connection is lost.
        """
        if len(self._pending) >= _MAX_PENDING or self._writer.transport.get_write_buffer_size() > _MAX_UNSENT:
            raise SessionsBusy("too many requests wait for the keeper of sessions")
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._pending.append(answer)
        self._writer.write(request)
        return await answer

    async def close(self) -> None:
        """End it; what was not answered fails."""
        self._reading.cancel()
        await asyncio.wait([self._reading])

    async def _read(self) -> None:
        try:
            while True:
                reply = await read_frame(self._reader)
                self.last_answer = time.monotonic()
                answer = self._pending.popleft()
                if not answer.done():  # its request may have been given up
                    answer.set_result(reply)
        except (EOFError, OSError):
            pass
        finally:
            self._writer.close()
            for answer in self._pending:
                if not answer.done():
                    answer.set_exception(ConnectionError("the keeper of sessions closed the connection"))
            self._pending.clear()
