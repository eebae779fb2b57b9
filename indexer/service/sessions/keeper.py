"""The process that keeps the sessions of several workers in its memory."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from indexer.service.sessions.keeper_messages import (
    AddAnswer,
    AddEvents,
    AskCounts,
    AskSession,
    Request,
    decode_request,
    framed,
    read_frame,
)
from indexer.service.sessions.memory_sessions import MemorySessions

# Requests of a connection, if so many have come; then what was answered is sent, and other connections have their turn.
_AT_ONCE = 32
_LOG = logging.getLogger(__name__)


def run_keeper(socket: Path, sessions: MemorySessions, lifeline: int | None = None) -> None:
    """Keep sessions for all who connect to a Unix socket, until SIGTERM. To be run in a process of its own.

    Other signals are for the workers, which have requests to finish.

    Args:
        socket: in a folder that only this user may enter.
        lifeline: a file descriptor that comes to its end when the parent does; then the keeper ends, too.

    Raises:
        OSError: the socket cannot be made.
    """
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    os.umask(0o077)
    uvloop.run(_until_ended(socket, sessions, lifeline))


async def _until_ended(socket: Path, sessions: MemorySessions, lifeline: int | None) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    if lifeline is not None:
        loop.add_reader(lifeline, ended.set)
    async with serve_sessions(socket, sessions):
        await ended.wait()


@contextlib.asynccontextmanager
async def serve_sessions(socket: Path, sessions: MemorySessions) -> AsyncIterator[None]:
    """Keep sessions for all who connect to a Unix socket, while the context lasts.

    Raises:
        OSError: the socket cannot be made.
    """
    served = dict[asyncio.Task[None], asyncio.StreamWriter]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        served[task] = writer
        try:
            await _serve(reader, writer, sessions)
        finally:
            del served[task]
            writer.close()

    server = await asyncio.start_unix_server(serve, socket)
    try:
        yield
    finally:
        server.close()
        for writer in served.values():
            writer.close()
        if served:
            await asyncio.wait(served)
        socket.unlink(missing_ok=True)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sessions: MemorySessions) -> None:
    """Answer one connection's requests, in their order."""
    try:
        for number in itertools.count(1):
            request = decode_request(await read_frame(reader))
            writer.write(framed(await _answer(request, sessions)))
            await writer.drain()
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
    except EOFError:
        pass
    except (OSError, msgspec.MsgspecError) as error:
        _LOG.warning("the keeper of sessions closes a connection: %s", error)


async def _answer(request: Request, sessions: MemorySessions) -> Any:
    if isinstance(request, AskSession):
        return sessions.record(request.session_id)
    if isinstance(request, AddEvents):
        return await sessions.add_events(request.session_id, request.events)
    if isinstance(request, AddAnswer):
        return await sessions.add_answer(request.session_id, request.answer)
    return await (sessions.counts() if isinstance(request, AskCounts) else sessions.gauges())
