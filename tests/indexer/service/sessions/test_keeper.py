from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from indexer.service.sessions.event import Event
from indexer.service.sessions.keeper import serve_sessions
from indexer.service.sessions.keeper_messages import MAX_FRAME, framed, read_frame
from indexer.service.sessions.keeper_sessions import KeeperSessions
from indexer.service.sessions.memory_sessions import MemorySessions
from indexer.service.sessions.session_store import SessionsBusy, SessionsUnavailable
from tests.indexer.service.sessions.waiting import available
from ubm_embed.data.session import Action, Interaction

pytestmark = pytest.mark.anyio
LONG = 30.0


def event(product_id: str = "p1") -> Event:
    return Event(Interaction(Action.VIEW, product_id=product_id), time.time())


def memory() -> MemorySessions:
    return MemorySessions(ttl=60.0, max_sessions=1_000, max_bytes=64 << 20, outcome_window=60.0)


_KEEPER = """
import sys
from pathlib import Path
from indexer.service.sessions.keeper import run_keeper
from indexer.service.sessions.memory_sessions import MemorySessions

sessions = MemorySessions(ttl=60.0, max_sessions=1_000, max_bytes=1 << 20, outcome_window=60.0)
run_keeper(Path(sys.argv[1]), sessions, int(sys.argv[2]))
"""


@contextlib.contextmanager
def keeper(socket: Path) -> Iterator[tuple[subprocess.Popen[bytes], BinaryIO]]:
    """A process of its own that keeps sessions, and the parent's end of its lifeline."""
    reader, writer = os.pipe()
    command = [sys.executable, "-c", _KEEPER, str(socket), str(reader)]
    with os.fdopen(writer, "wb") as parent, subprocess.Popen(command, pass_fds=[reader]) as process:
        os.close(reader)
        try:
            yield process, parent
        finally:
            process.kill()


@contextlib.asynccontextmanager
async def sessions(socket: Path, timeout: float = LONG) -> AsyncIterator[KeeperSessions]:
    store = KeeperSessions(socket, timeout=timeout)
    try:
        yield store
    finally:
        await store.close()


class TestProcess:
    async def test_workers_share_its_sessions_until_it_is_killed_and_again_when_it_returns(
        self, socket_file: Path
    ) -> None:
        async with sessions(socket_file) as one, sessions(socket_file) as other:
            with keeper(socket_file):
                await available(one)
                await one.add_events("s", [event()])
                assert await other.session("s") == await one.session("s") is not None
                assert stat.S_IMODE(socket_file.stat().st_mode) & 0o077 == 0
            for store in (one, other):
                with pytest.raises(SessionsUnavailable):
                    await store.session("s")
            with keeper(socket_file):  # the killed one left its socket there
                await available(one)
                assert await one.session("s") is None
                assert await one.add_events("s", [event()])

    async def test_it_ends_when_it_is_told_to(self, socket_file: Path) -> None:
        async with sessions(socket_file) as store:
            with keeper(socket_file) as (process, _):
                await available(store)
                process.send_signal(signal.SIGINT)  # for the workers
                assert await store.session("s") is None
                process.terminate()
                assert process.wait(LONG) == 0
                assert not socket_file.exists()

    async def test_it_ends_when_its_parent_is_gone(self, socket_file: Path) -> None:
        async with sessions(socket_file) as store:
            with keeper(socket_file) as (process, lifeline):
                await available(store)
                lifeline.close()
                assert process.wait(LONG) == 0

    async def test_one_that_hangs_is_given_up_and_asked_again(self, socket_file: Path) -> None:
        async with sessions(socket_file, timeout=0.1) as store:
            with keeper(socket_file) as (process, _):
                await available(store)
                process.send_signal(signal.SIGSTOP)
                calls = [store.session(f"s{row}") for row in range(100)]
                results = await asyncio.gather(*calls, return_exceptions=True)
                assert all(isinstance(result, SessionsUnavailable) for result in results)
                process.send_signal(signal.SIGCONT)
                await available(store)


class TestConnection:
    async def test_answers_reach_those_who_asked_though_others_gave_up(self, socket_file: Path) -> None:
        async with serve_sessions(socket_file, memory()), sessions(socket_file) as store:
            for row in range(20):
                await store.add_events(f"s{row}", [event(f"p{row}")])
            tasks = [asyncio.create_task(store.session(f"s{row}")) for row in range(20)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            for row in range(1, 20, 2):
                assert found[row].interactions[0].product_id == f"p{row}"  # type: ignore[union-attr]

    @pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\1\xc1", (MAX_FRAME + 1).to_bytes(4), b"\0\0"])
    async def test_a_stranger_who_talks_nonsense_is_shown_out(self, socket_file: Path, junk: bytes) -> None:
        async with serve_sessions(socket_file, memory()), sessions(socket_file) as store:
            reader, writer = await asyncio.open_unix_connection(socket_file)
            writer.write(junk)
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            assert await store.session("s") is None

    async def test_a_large_request_passes(self, socket_file: Path) -> None:
        many = [Event(Interaction(Action.SEARCH, query="x" * 1_000), time.time()) for _ in range(1_000)]
        async with serve_sessions(socket_file, memory()), sessions(socket_file) as store:
            assert (await store.add_events("s", many)).accepted == 1_000

    async def test_one_that_answers_others_is_busy_and_not_away(self, socket_file: Path) -> None:
        async def answer_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_frame(reader)
            writer.write(framed(None))
            await reader.read()
            writer.close()

        server = await asyncio.start_unix_server(answer_one, socket_file)
        async with server, sessions(socket_file, timeout=0.5) as store:
            results = await asyncio.gather(*(store.session("s") for _ in range(10)), return_exceptions=True)
            assert [type(result) for result in results] == [type(None)] + [SessionsBusy] * 9

    async def test_without_a_keeper_nothing_is_there(self, socket_file: Path) -> None:
        async with sessions(socket_file) as store:
            for _ in range(10):
                with pytest.raises(SessionsUnavailable):
                    await store.add_events("s", [event()])
