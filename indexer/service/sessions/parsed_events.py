"""Events of a request, by session."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from indexer.service.sessions.event import Event
from ubm_embed.errors import InvalidData

MAX_EVENTS = 1_000  # of a request; one with several products counts for each of them


class SessionEvent(NamedTuple):
    """An event and its session."""

    session_id: str
    event: Event


@dataclass(frozen=True, slots=True)
class IgnoredEvent:
    """An event that is no use here, such as a page view.

    Attributes:
        index: of the event in its request, from 0.
        reason: as in the report of `ubm-embed ingest`.
    """

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class ParsedEvents:
    """What a request says.

    Attributes:
        sessions: events by session id, in the order of the request.
    """

    sessions: Mapping[str, tuple[Event, ...]]
    ignored: tuple[IgnoredEvent, ...] = ()

    @classmethod
    def collect(cls, read: Iterable[SessionEvent | IgnoredEvent]) -> ParsedEvents:
        """The events that a reader of one shape yields.

        Raises:
            InvalidData: more than `MAX_EVENTS`.
        """
        sessions, ignored, count = dict[str, list[Event]](), list[IgnoredEvent](), 0
        for one in read:
            if isinstance(one, IgnoredEvent):
                ignored.append(one)
                continue
            count += 1
            if count > MAX_EVENTS:
                raise InvalidData(f"expected at most {MAX_EVENTS:,} products in all events of a request")
            sessions.setdefault(one.session_id, []).append(one.event)
        return cls({session_id: tuple(events) for session_id, events in sessions.items()}, tuple(ignored))
