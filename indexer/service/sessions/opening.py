"""The store of sessions that a service is told to use."""

from __future__ import annotations

from pathlib import Path

from indexer.service.sessions.keeper_sessions import KeeperSessions
from indexer.service.sessions.memory_sessions import MemorySessions
from indexer.service.sessions.redis_access import require_access
from indexer.service.sessions.redis_sessions import RedisSessions
from indexer.service.sessions.session_store import SessionStore
from indexer.service.settings import ServiceSettings


def open_sessions(settings: ServiceSettings, experiment: str = "", keeper: Path | None = None) -> SessionStore:
    """The sessions of a worker: in Redis, with the keeper that workers share, or in this process.

    Nothing is asked yet: a store that cannot be reached says so when it is used, and may come back.

    Args:
        experiment: its name; what answers did is counted anew for each.
        keeper: socket of the process that keeps the sessions of several workers (`keeper.run_keeper`).

    Raises:
        ValueError: `settings.sessions` is neither "memory" nor a URL of Redis. The error does not repeat it: it may
            hold a password.
    """
    if settings.sessions != "memory":
        return RedisSessions(
            settings.sessions,
            name=_name(settings.store),
            experiment=experiment,
            ttl=settings.session_ttl,
            outcome_window=settings.outcome_window,
        )
    return memory_sessions(settings) if keeper is None else KeeperSessions(keeper)


def require_sessions(settings: ServiceSettings) -> None:
    """Return if the sessions that a service is told to use may be used, as far as can be known before it starts.

    Raises:
        InvalidData: as of `require_access`.
    """
    if settings.sessions != "memory":
        require_access(settings.sessions)


def memory_sessions(settings: ServiceSettings) -> MemorySessions:
    """Sessions in the memory of this process."""
    return MemorySessions(
        ttl=settings.session_ttl,
        max_sessions=settings.max_kept_sessions,
        max_bytes=settings.kept_session_bytes,
        outcome_window=settings.outcome_window,
    )


def _name(store: str) -> str:
    """The last part of a store's path or URI, which is the same on all machines that share it."""
    return Path(store).resolve().name if "://" not in store else store.rstrip("/").rpartition("/")[2]
