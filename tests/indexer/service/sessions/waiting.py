"""Waiting for a store of sessions that was away."""

from __future__ import annotations

import asyncio

from indexer.service.sessions.session_store import SessionStore, SessionsUnavailable


async def available(store: SessionStore) -> None:
    """Return once the store answers; a minute at most."""
    async with asyncio.timeout(60):
        while True:
            try:
                await store.session("s")
                return
            except SessionsUnavailable:
                await asyncio.sleep(0.05)
