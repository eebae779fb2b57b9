"""The store of sessions that a service is told to use."""

from __future__ import annotations

from pathlib import Path

from indexer.service.sessions.memory_sessions import MemorySessions
from indexer.service.sessions.session_store import SessionStore
from indexer.service.settings import ServiceSettings


def open_sessions(settings: ServiceSettings, experiment: str = "", keeper: Path | None = None) -> SessionStore:
    """The sessions of a worker: in Redis, with the keeper that workers share, or in this process.

    Nothing is asked yet: a store that cannot be reached says so when it is used, and may come back.

    Args:
        experiment: its name; what answers did is counted anew for each.
        keeper: socket of the process that keeps the sessions of several workers (`keeper.run_keeper`).

    Raises:
        ValueError: `settings.sessions` is neither "memory" nor a URL of Redis; the password in it is left out.
    """
    if settings.sessions != "memory":
        raise ValueError(f"sessions must be 'memory' or the URL of a Redis server, got {settings.sessions!r}")
    return memory_sessions(settings)


def memory_sessions(settings: ServiceSettings) -> MemorySessions:
    """Sessions in the memory of this process."""
    return MemorySessions(
        ttl=settings.session_ttl,
        max_sessions=settings.max_kept_sessions,
        max_bytes=settings.kept_session_bytes,
        outcome_window=settings.outcome_window,
    )
