"""Uvicorn's HTTP protocol with limits on what a connection may hold: memory, time, and requests in advance.

By itself uvicorn takes headers of any size, waits for the rest of a request for ever, and answers 503 when it has too
many connections.

A client that closes its side while it waits for an answer is taken to be gone: a client that gave up looks the same.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from indexer.service.http.connection import refusal
from indexer.service.http.connection.open_files import RESERVED, allow_open_files
from indexer.service.http.connection.refusal import Refusal
from indexer.service.settings import ServiceSettings

_LOG = logging.getLogger("ubm_embed.access")
# After a refusal what a client still sends is read for so long; a reset would take the answer from it.
_LINGER_SECONDS = 1.0
_LINGER_BYTES = 16 << 20
_CONNECTIONS = 10_000
_HEAD_BYTES = 64 << 10
# Headers with which a client asks for another protocol.
_UPGRADE = (b"connection", b"http2-settings", b"upgrade")


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What the connections of a worker may take.

    Attributes:
        target_bytes: of the path and the query of a request.
        header_bytes, headers: of a request; header lines with their ends.
        message_bytes: of a whole request as it is sent, chunk sizes and trailers included.
        seconds: for a whole request to come.
        write_seconds: for a client to take in what it was sent.
        connections: at once. If there are more, the one that was idle longest is closed.
        waiting: requests of one connection that come before the one ahead was answered.
    """

    target_bytes: int = 8 << 10
    header_bytes: int = 16 << 10
    headers: int = 100
    message_bytes: int = 2 << 20
    seconds: float = 2.0
    write_seconds: float = 30.0
    connections: int = _CONNECTIONS
    waiting: int = 16

    @classmethod
    def from_settings(cls, settings: ServiceSettings) -> Self:
        """Those of a service, for which the system is asked to allow as many open files; else they are fewer."""
        connections = max(1, allow_open_files(_CONNECTIONS + RESERVED) - RESERVED)
        # A body may come in chunks, each with its size; but not in very small ones, since each costs a call.
        message_bytes = 2 * settings.max_body + _HEAD_BYTES
        return cls(seconds=settings.timeout, message_bytes=message_bytes, connections=connections)


class ConnectionObserver(Protocol):
    """Is told what happens to connections; must be quick and must not raise."""

    def connection_refused(self, reason: str) -> None:
        """A connection is closed by a limit."""


class HardenedProtocol(HttpToolsProtocol):
    """One connection. `hardened` makes the class of a server."""

    limits: ClassVar[ConnectionLimits] = ConnectionLimits()
    observer: ClassVar[ConnectionObserver]
    # Connections of the server between two requests, the one that was idle longest first.
    idle: ClassVar[OrderedDict[HttpToolsProtocol, None]]

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        # Since the request began, in pieces that came with its head unfinished; of whole headers; and in all.
        self._head_bytes = self._header_bytes = self._message_bytes = 0
        self._in_headers = self._in_message = False
        self._deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None
        self._discarded: int | None = None  # bytes, once what comes is only thrown away

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections and not self._close_idle():
            self._refuse(refusal.too_many_connections(), lingers=False)
            return
        self.idle[self] = None
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.idle.pop(self, None)
        self._unset_keepalive_if_required()
        for timer in (self._deadline, self._write_deadline):
            if timer is not None:
                timer.cancel()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing came for long; what the client has not taken in by now it will not take."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_deadline = self.loop.call_later(self.limits.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_deadline is not None:
            self._write_deadline.cancel()

    def _close_idle(self) -> bool:
        if not self.idle:
            return False
        connection, _ = self.idle.popitem(last=False)
        self.observer.connection_refused("idle")
        connection.timeout_keep_alive_handler()
        return True

    # What comes

    def data_received(self, data: bytes) -> None:
        if self._discarded is not None:
            self._discard(data)
            return
        rest = self._parse(data)
        if rest is not None:
            self._read_without_upgrade(rest)

    def _parse(self, data: bytes) -> bytes | None:
        """Read what came, and return what follows a request for another protocol, if it has one."""
        was_in_headers = self._in_headers
        try:
            self.parser.feed_data(data)
            if self._in_message:
                self._await_rest(len(data), was_in_headers)
        except httptools.HttpParserUpgrade as upgrade:
            return data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            self._refuse(error.__context__ if isinstance(error.__context__, Refusal) else refusal.malformed())
        except Refusal as problem:
            self._refuse(problem)
        return None

    def _read_without_upgrade(self, rest: bytes) -> None:
        """Read a request as if it asked for no other protocol: the parser takes its body for that protocol's.

        Java's client asks for HTTP/2 with every request, unless it is told not to.
        """
        head = [self.parser.get_method(), b" ", self.url, b" HTTP/1.1\r\n"]
        lines = [b"%b: %b\r\n" % header for header in self.headers if header[0] not in _UPGRADE]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"".join([*head, *lines, b"\r\n", rest]))

    def _await_rest(self, received: int, was_in_headers: bool) -> None:
        """Bound what the parser holds until a header, or the whole request, is there, and for how long."""
        self._message_bytes += received
        if was_in_headers and self._in_headers:
            self._head_bytes += received
            if self._head_bytes > self.limits.target_bytes + self.limits.header_bytes:
                raise refusal.headers_too_large(self.limits.header_bytes)
        elif not self._in_headers and self._message_bytes > self.limits.message_bytes:
            raise refusal.message_too_large(self.limits.message_bytes)
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.limits.seconds, self._out_of_time)

    def _out_of_time(self) -> None:
        self._deadline = None
        if self.flow.read_paused:  # it is we who did not read
            self._deadline = self.loop.call_later(self.limits.seconds, self._out_of_time)
        else:
            self._refuse(refusal.too_slow("headers" if self._in_headers else "body", self.limits.seconds))

    # What the parser finds

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_message = self._in_headers = True
        self._head_bytes = self._header_bytes = self._message_bytes = 0
        self._unset_keepalive_if_required()
        self.idle.pop(self, None)

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > self.limits.target_bytes:
            raise refusal.target_too_long(self.limits.target_bytes)

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > self.limits.header_bytes:
            raise refusal.headers_too_large(self.limits.header_bytes)
        if len(self.headers) > self.limits.headers:
            raise refusal.too_many_headers(self.limits.headers)

    def on_headers_complete(self) -> None:
        if self.parser.get_http_version() not in ("1.1", "1.0"):  # the parser knows 0.9 and 2.0, too
            raise refusal.malformed()
        self._in_headers = False
        if not self.parser.should_upgrade():
            super().on_headers_complete()
        elif self.parser.get_method() == b"CONNECT":
            raise refusal.malformed()
        if len(self.pipeline) > self.limits.waiting:
            raise refusal.too_many_waiting()

    def on_message_complete(self) -> None:
        self._in_message = False
        self._stop_deadline()
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not (self._in_message or self.pipeline or self.transport.is_closing()):
            self.idle[self] = None

    # Refusals

    def _refuse(self, problem: Refusal, *, lingers: bool = True) -> None:
        """End the connection, with an answer if its turn has come."""
        self._stop_deadline()
        self.observer.connection_refused(problem.reason)
        in_turn = self._is_in_turn()
        was_answered = self.cycle is None or self.cycle.response_complete
        if not was_answered:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.transport.is_closing():
            return
        if in_turn:
            self._answer(problem)
        if lingers and (in_turn or was_answered) and self.transport.can_write_eof():
            self._linger()
        else:
            self.transport.close()

    def _is_in_turn(self) -> bool:
        """Whether the next thing that the client reads is about what it sent last."""
        if self.cycle is None:
            return True
        has_body_to_come = self._in_message and not self._in_headers
        if has_body_to_come:
            return not self.cycle.response_started and not self.pipeline
        return self.cycle.response_complete and not self.pipeline

    def _answer(self, problem: Refusal) -> None:
        request_id = os.urandom(12).hex()
        answer = problem.answer
        fields = {"reason": problem.reason, "status": answer.status, "request_id": request_id}
        _LOG.info("connection refused", extra={"fields": fields})
        self.transport.write(refusal.response(answer, request_id, ((b"connection", b"close"),)))

    def _linger(self) -> None:
        self._discarded = 0
        self.transport.write_eof()
        self._deadline = self.loop.call_later(_LINGER_SECONDS, self.transport.abort)
        self.flow.resume_reading()

    def _discard(self, data: bytes) -> None:
        self._discarded = (self._discarded or 0) + len(data)
        if self._discarded > _LINGER_BYTES:
            self.transport.abort()

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def hardened(limits: ConnectionLimits, observer: ConnectionObserver) -> type[HardenedProtocol]:
    """The protocol of one server."""
    values = {"limits": limits, "observer": observer, "idle": OrderedDict()}
    return type("HardenedProtocol", (HardenedProtocol,), values)
