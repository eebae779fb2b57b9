"""A server on loopback whose connections tests speak to byte by byte."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from indexer.service.http.connection.load_shedding import LoadShedder
from indexer.service.http.connection.protocol import ConnectionLimits, HardenedProtocol, hardened
from indexer.service.http.connection.shedding_protocol import shedding

PATIENCE = 30.0  # seconds for what should take milliseconds


@dataclass
class Reasons:
    """A `ConnectionObserver` that remembers."""

    reasons: list[str] = field(default_factory=list)

    def connection_refused(self, reason: str) -> None:
        """Remember."""
        self.reasons.append(reason)


@dataclass
class Running:
    """A server that runs in a thread."""

    server: uvicorn.Server
    protocol: type[HardenedProtocol]
    port: int
    refusals: list[str]

    def connect(self) -> socket.socket:
        """A new connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def ask(self, data: bytes) -> bytes:
        """All that comes back for these bytes until the server closes the connection."""
        with self.connect() as connection:
            with contextlib.suppress(OSError):  # it may be refused before all is sent
                connection.sendall(data)
            return read_all(connection)

    @property
    def connections(self) -> int:
        """How many it has now."""
        return len(self.server.server_state.connections)


def read_all(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One answer with a length: status, headers, body."""
    with connection.makefile("rb", buffering=0) as stream:
        status = int(stream.readline().split()[1])
        headers = {}
        while line := stream.readline().strip():
            name, value = line.decode().split(": ", 1)
            headers[name] = value
        return status, headers, stream.read(int(headers["content-length"]))


def parsed(answer: bytes) -> tuple[int, dict[str, Any]]:
    """Status and JSON of an answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until this holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.005)


@contextlib.contextmanager
def running(
    app: Any, limits: ConnectionLimits, keep_alive: float = 75, shedder: LoadShedder | None = None
) -> Iterator[Running]:
    """A server of an application, on a free port."""
    observer = Reasons()
    protocol = hardened(limits, observer) if shedder is None else shedding(limits, observer, shedder)
    config = uvicorn.Config(
        app,
        http=protocol,
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=keep_alive,  # type: ignore[arg-type]
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            wait_for(lambda: server.started)
            yield Running(server, protocol, listener.getsockname()[1], observer.reasons)
        finally:
            server.should_exit = True
            thread.join()
