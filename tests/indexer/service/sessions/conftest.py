"""The three stores of sessions, each opened with settings of the test's own."""

from __future__ import annotations

import contextlib
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from indexer.service.sessions.keeper import serve_sessions
from indexer.service.sessions.keeper_sessions import KeeperSessions
from indexer.service.sessions.memory_sessions import MemorySessions
from indexer.service.sessions.redis_sessions import RedisSessions
from indexer.service.sessions.session_store import SessionStore

LONG = 30.0  # seconds that no store needs here; a busy machine may take some
OpenStore = Callable[..., AbstractAsyncContextManager[SessionStore]]


@pytest.fixture
def anyio_backend() -> str:
    """Tests that are coroutines run in asyncio."""
    return "asyncio"


def memory(**settings: Any) -> MemorySessions:
    """Sessions in memory, with room for all that a test keeps unless it says otherwise."""
    usual: dict[str, Any] = {"ttl": 3_600.0, "max_sessions": 20_000, "max_bytes": 64 << 20, "outcome_window": 1_800.0}
    return MemorySessions(**(usual | settings))


@pytest.fixture
def socket_file() -> Any:
    """A path for a Unix socket; those of pytest are too long for one."""
    with tempfile.TemporaryDirectory(prefix="ubm-") as folder:
        yield Path(folder) / "sessions"


@pytest.fixture(params=["memory", "redis", "keeper"])
def open_store(request: pytest.FixtureRequest) -> OpenStore:
    """Opens a store of each kind: `ttl` and `now` may be given."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        return lambda **settings: _redis(url, **settings)
    if request.param == "keeper":
        socket = request.getfixturevalue("socket_file")
        return lambda **settings: _keeper(socket, **settings)
    return lambda **settings: contextlib.nullcontext(memory(**settings))


@contextlib.asynccontextmanager
async def _redis(url: str, **settings: Any) -> AsyncIterator[SessionStore]:
    usual: dict[str, Any] = {
        "name": uuid.uuid4().hex,
        "ttl": 3_600.0,
        "outcome_window": 1_800.0,
        "timeout": LONG,
        "max_wait": LONG,
    }
    store = RedisSessions(url, **(usual | settings))
    try:
        yield store
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def _keeper(socket: Path, **settings: Any) -> AsyncIterator[SessionStore]:
    async with serve_sessions(socket, memory(**settings)):
        store = KeeperSessions(socket, timeout=LONG)
        try:
            yield store
        finally:
            await store.close()
