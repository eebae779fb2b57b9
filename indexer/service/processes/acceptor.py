"""Connections that wait at a socket, all taken at once."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Callable, Iterator

_LOG = logging.getLogger(__name__)
_AT_ONCE = 1_000
# Without files to open for connections, others must end before it makes sense to try again.
_PAUSE_SECONDS = 0.1
_NO_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """Opens the connections that wait at a socket, in each turn of the event loop.

    Uvloop's own server takes one in each turn, however many wait: while the loop is busy, the new clients of a second
    would wait for many, and nobody would know.

    Args:
        protocol: makes the protocol of a connection.
    """

    def __init__(self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> None:
        self._listener, self._protocol = listener, protocol
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._loop.add_reader(listener, self._accept)

    async def close(self) -> None:
        """Take no more, but open all that wait; then the socket is closed."""
        self._loop.remove_reader(self._listener)
        if self._pause is not None:
            self._pause.cancel()
        with contextlib.suppress(OSError):
            for connection in self._waiting():
                self._open(connection)
        self._listener.close()
        await asyncio.gather(*self._opening)

    def _accept(self) -> None:
        try:
            for _, connection in zip(range(_AT_ONCE), self._waiting(), strict=False):
                self._open(connection)
        except OSError as error:
            if error.errno in _NO_FILES:
                _LOG.warning("connections wait, since no more can be opened: %s", error)
                self._loop.remove_reader(self._listener)
                self._pause = self._loop.call_later(_PAUSE_SECONDS, self._loop.add_reader, self._listener, self._accept)

    def _waiting(self) -> Iterator[socket.socket]:
        with contextlib.suppress(BlockingIOError):
            while True:
                with contextlib.suppress(ConnectionAbortedError):
                    yield self._listener.accept()[0]

    def _open(self, connection: socket.socket) -> None:
        task = self._loop.create_task(self._connect(connection))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self, connection: socket.socket) -> None:
        try:
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError:  # the client has gone
            connection.close()
