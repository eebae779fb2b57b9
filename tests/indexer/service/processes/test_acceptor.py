"""All connections that wait are taken in one turn of the event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from indexer.service.processes.acceptor import Acceptor

CLIENTS = 200


class Counter(asyncio.Protocol):
    """Counts connections."""

    made = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Counter.made += 1
        transport.close()


@pytest.fixture(autouse=True)
def count() -> None:
    Counter.made = 0


def with_clients(check: Callable[[Acceptor], Awaitable[None]], clients: int = CLIENTS) -> None:
    """Let clients connect before the loop runs on, then check."""

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=1_024) as listener:
            acceptor = Acceptor(listener.dup(), Counter)
            connected = [socket.create_connection(listener.getsockname()) for _ in range(clients)]
            try:
                await check(acceptor)
                await acceptor.close()
            finally:
                for client in connected:
                    client.close()
            assert Counter.made == clients

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def test_many_need_few_turns() -> None:
    async def check(acceptor: Acceptor) -> None:
        turns = 0
        while Counter.made < CLIENTS:
            await asyncio.sleep(0)
            turns += 1
        assert turns < CLIENTS / 4

    with_clients(check)


def test_those_that_wait_at_the_end_are_opened_before_it_closes() -> None:
    async def check(acceptor: Acceptor) -> None:
        assert Counter.made == 0

    with_clients(check)


def test_without_files_to_open_they_wait_until_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(acceptor: Acceptor) -> None:
        def fail() -> None:
            raise OSError(24, "Too many open files")

        with monkeypatch.context() as patch:
            patch.setattr(acceptor, "_waiting", fail)
            acceptor._accept()
            assert Counter.made == 0
        async with asyncio.timeout(60):
            while Counter.made < CLIENTS:
                await asyncio.sleep(0.01)

    with_clients(check)
