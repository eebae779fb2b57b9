"""The sessions that a request names: by their ids, or whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from indexer.service.sessions.shapes.fields import session_id_at
from ubm_embed.data.session import Session, field_path, parse_session
from ubm_embed.errors import InvalidData


class NamesSessions(Protocol):
    """A body with sessions in one of four forms."""

    session_id: str | int | None
    session: dict[str, Any] | None
    interactions: list[Any] | None
    sessions: list[Any] | None


@dataclass(frozen=True, slots=True)
class RequestedSession:
    """A session as a request names it.

    Attributes:
        session: whole; None if the service is to know it by its id.
    """

    session_id: str | None
    session: Session | None


def requested_sessions(body: NamesSessions, max_sessions: int) -> list[RequestedSession]:
    """The sessions of a request.

    A whole session is taken as it is, and its id only says whose answer it is.

    Raises:
        InvalidData: none or too many, two forms at once, or a session that is not as expected; names the field.
    """
    if body.sessions is not None:
        _require_alone("sessions", body.session_id, body.session, body.interactions)
        _require_count(body.sessions, max_sessions)
        return [_requested(entry, f"sessions[{row}]") for row, entry in enumerate(body.sessions)]
    if body.session is not None:
        _require_alone("session", body.session_id, body.interactions)
        return [_requested(body.session, "session")]
    if body.interactions is None and body.session_id is None:
        raise InvalidData("expected session_id, session, interactions or sessions")
    return [_requested({"session_id": body.session_id, "interactions": body.interactions}, "")]


def whole_session(entry: Any, field: str) -> Session:
    """A session from its JSON object.

    Args:
        field: path of the object in the request, for errors.

    Raises:
        InvalidData: not as expected; names the field.
    """
    if isinstance(entry, Mapping) and (unknown := entry.keys() - {"session_id", "interactions"}):
        raise InvalidData("unknown; expected session_id and interactions", field=field_path(field, min(unknown)[:100]))
    try:
        session = parse_session(entry)
    except InvalidData as error:
        raise InvalidData(error.problem, field=field_path(field, error.field or "") or None) from None
    if session.session_id is None:
        return session
    return replace(session, session_id=session_id_at(entry, field))  # by the same rule as that of its events


def _requested(entry: Any, field: str) -> RequestedSession:
    if isinstance(entry, Mapping) and entry.get("interactions") is None and entry.get("session_id") is not None:
        return RequestedSession(whole_session({**entry, "interactions": []}, field).session_id, None)
    session = whole_session(entry, field)
    return RequestedSession(session.session_id, session)


def _require_alone(field: str, *others: Any) -> None:
    if any(other is not None for other in others):
        raise InvalidData("expected no other session beside it", field=field)


def _require_count(sessions: Sequence[Any], max_sessions: int) -> None:
    if not 1 <= len(sessions) <= max_sessions:
        raise InvalidData(f"expected 1 to {max_sessions:,} sessions, got {len(sessions):,}", field="sessions")
