from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from indexer.service.sessions.keeper_sessions import KeeperSessions
from indexer.service.sessions.memory_sessions import MemorySessions
from indexer.service.sessions.opening import open_sessions
from indexer.service.sessions.redis_sessions import RedisSessions
from indexer.service.settings import ServiceSettings


@pytest.mark.parametrize(
    ("sessions", "keeper", "kind"),
    [
        ("memory", None, MemorySessions),
        ("memory", Path("socket"), KeeperSessions),
        ("redis://127.0.0.1:1/0", None, RedisSessions),
        ("rediss://user:secret@127.0.0.1:1", Path("socket"), RedisSessions),
        ("unix:///nowhere?db=1", None, RedisSessions),
    ],
)
def test_the_settings_say_where_sessions_are(sessions: str, keeper: Path | None, kind: type) -> None:
    async def opened() -> object:
        store = open_sessions(ServiceSettings(store="shop", sessions=sessions), keeper=keeper)
        await store.close()
        return store

    assert isinstance(asyncio.run(opened()), kind)
