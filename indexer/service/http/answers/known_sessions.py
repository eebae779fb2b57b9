"""The sessions of a request as they are answered: whole from the request, or as the service keeps them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from indexer.service.http.requests.requested_sessions import RequestedSession
from indexer.service.sessions.session_store import SessionStore, SessionsUnavailable
from ubm_embed.data.session import Session


@dataclass(frozen=True, slots=True)
class KnownSession:
    """A session to be answered.

    Attributes:
        missing: why it is empty: the service does not keep it, or cannot reach what it keeps now.
    """

    session: Session
    missing: Literal["session not kept", "sessions unavailable"] | None = None


async def known_sessions(requested: Sequence[RequestedSession], store: SessionStore) -> list[KnownSession]:
    """Each session of a request. Kept ones are fetched all at once; one that is not there is empty."""
    if len(requested) == 1:  # spares it a task
        return [await _known(requested[0], store)]
    return await asyncio.gather(*(_known(one, store) for one in requested))


async def _known(requested: RequestedSession, store: SessionStore) -> KnownSession:
    if requested.session is not None:
        return KnownSession(requested.session)
    session_id = requested.session_id or ""
    try:
        kept = await store.session(session_id)
    except SessionsUnavailable:
        return KnownSession(Session((), session_id), "sessions unavailable")
    if kept is None:
        return KnownSession(Session((), session_id), "session not kept")
    return KnownSession(kept)
