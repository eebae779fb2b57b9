"""Uvicorn over a socket that was bound before, which on its end loses no request that is on its way."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from indexer.service.processes.listener import BACKLOG
from indexer.service.settings import ServiceSettings

# A client that keeps its connection open sends its next request, and learns from the answer that it is the last one.
LINGER_SECONDS = 1.0
_KEEP_ALIVE_SECONDS = 75  # as nginx: longer than most proxies and clients keep theirs, which must close first


class HTTPServer(uvicorn.Server):
    """Answers requests from a listening socket until `should_exit`."""

    def __init__(self, app: Any, settings: ServiceSettings, protocol: type[asyncio.Protocol]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=max(1, round(settings.grace)),
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: the worker handles signals."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new connections, and answer what comes on those that are open, which then are closed.

        Uvicorn alone closes connections that look idle, although a request may be on its way.
        """
        for server in self.servers:
            server.close()
        self.server_state.default_headers.append((b"connection", b"close"))
        deadline = asyncio.get_running_loop().time() + LINGER_SECONDS
        while self.server_state.connections and not self.force_exit and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)
