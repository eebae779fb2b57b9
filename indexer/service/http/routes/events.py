"""POST /v1/events: what shoppers did."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence

import msgspec

from indexer.service.http.documentation import schemas
from indexer.service.http.endpoint import Call, Reply
from indexer.service.http.operation import Operation
from indexer.service.http.requests.decoding import any_body
from indexer.service.http.telemetry.metrics import Metrics
from indexer.service.service import Service
from indexer.service.sessions.event import Event
from indexer.service.sessions.event_parser import parse_events
from indexer.service.sessions.known_ids import prefer_known_ids
from indexer.service.sessions.parsed_events import IgnoredEvent
from indexer.service.sessions.session_store import Added, SessionsUnavailable
from ubm_embed.errors import UbmError

_LOG = logging.getLogger(__name__)


class EventsReply(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What became of the events of a request.

    Attributes:
        accepted: new ones.
        duplicates: known by their event ids.
        expired: so old that they cannot begin a session again.
        sessions: "unavailable" if some are only in the event log, since kept sessions could not be reached.
    """

    accepted: int
    duplicates: int
    expired: int
    ignored: list[IgnoredEvent]
    sessions: str | None = None


class EventRoutes:
    """Takes events and keeps their sessions."""

    def __init__(self, service: Service, metrics: Metrics) -> None:
        self._service, self._metrics = service, metrics

    async def events(self, call: Call) -> Reply:
        """Keep the events of a request, and log them."""
        parsed = parse_events(any_body.decode(call.body), time.time())
        call.state.sessions = max(1, len(parsed.sessions))
        sessions = {session_id: self._by_known_ids(events) for session_id, events in parsed.sessions.items()}
        if self._service.event_log is not None:
            for session_id, events in sessions.items():
                self._service.event_log.add_events(session_id, events)
        kept = await self._keep(sessions)
        reply = EventsReply(
            accepted=sum(added.accepted for added in kept),
            duplicates=sum(added.duplicates for added in kept),
            expired=sum(added.expired for added in kept),
            ignored=list(parsed.ignored),
            sessions=None if len(kept) == len(sessions) else "unavailable",
        )
        self._metrics.events(reply.accepted, reply.duplicates, reply.expired, len(reply.ignored))
        for added in kept:
            self._metrics.outcomes(added.outcomes)
        return Reply.json(reply)

    async def _keep(self, sessions: Mapping[str, Sequence[Event]]) -> list[Added]:
        """What became of the events of each session that could be kept.

        Raises:
            SessionsUnavailable: some could not, and no event log has them. Sending all again does no harm if events
                have ids.
        """
        add = self._service.sessions.add_events
        calls = [add(session_id, events) for session_id, events in sessions.items()]
        kept = await asyncio.gather(*calls, return_exceptions=True)
        failures = [result for result in kept if isinstance(result, BaseException)]
        for failure in failures:
            self._metrics.sessions_unavailable()
            if self._service.event_log is None or not isinstance(failure, SessionsUnavailable):
                raise failure
        return [result for result in kept if isinstance(result, Added)]

    def _by_known_ids(self, events: Sequence[Event]) -> Sequence[Event]:
        if all(event.interaction.product is None for event in events):
            return events
        try:
            with self._service.engine.live.borrow() as retriever:
                return prefer_known_ids(events, retriever.catalogue)
        except UbmError:  # an event is not lost because the store is damaged
            _LOG.warning("events keep the products that they came with, since the store cannot be read")
            return events

    def operations(self) -> list[Operation]:
        """Its routes."""
        return [
            Operation(
                "POST",
                "/v1/events",
                self.events,
                tag="Events",
                summary="What shoppers did: the service keeps their sessions.",
                description=_DESCRIPTION,
                body=schemas.ref("Events"),
                examples={
                    "one": {"session_id": "s1", "action": "view", "product_id": "p1", "event_id": "e-1"},
                    "several": {
                        "events": [
                            {"session_id": "s1", "action": "search", "query": "red running shoes"},
                            {"session_id": "s1", "action": "remove", "product_id": "p1"},
                        ]
                    },
                    "ga4": _GA4,
                    "segment": _SEGMENT,
                },
                reply=EventsReply,
                errors=(503,),
            )
        ]


_DESCRIPTION = """One event, a list of them or `{"events": [...]}`; or a request as GA4's Measurement Protocol or
Segment send it. Events that say nothing about a product or a search are in `ignored`, with the reason. Events with an
`event_id` may be sent again and in any order.

While kept sessions cannot be reached, events are only in the event log, and the answer says
`"sessions": "unavailable"`; without an event log it is 503, and the same events may be sent again."""
_GA4 = {
    "client_id": "17.4",
    "events": [{"name": "view_item", "params": {"ga_session_id": 1017, "items": [{"item_id": "p1"}]}}],
}
_SEGMENT = {
    "type": "track",
    "event": "Product Viewed",
    "anonymousId": "a-1",
    "messageId": "m-1",
    "properties": {"product_id": "p1"},
}
