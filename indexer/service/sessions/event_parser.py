"""Events of a request, in whichever shape they are sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from indexer.service.sessions.parsed_events import ParsedEvents
from indexer.service.sessions.shapes.ga4_events import ga4_events
from indexer.service.sessions.shapes.own_events import own_events
from indexer.service.sessions.shapes.segment_events import SEGMENT_CALLS, segment_events


def parse_events(body: Any, now: float) -> ParsedEvents:
    """The events in a request's JSON.

    A Measurement-Protocol request is known by its `client_id` or `app_instance_id`, a call of Segment's by its `batch`,
    its `event` or the `type` of the call; anything else is in our own shape.

    Args:
        now: seconds since 1970; the moment of events that have none, and of those that say they are to come.

    Raises:
        InvalidData: names the field, as in `events[3].action`; or more than `MAX_EVENTS`.
    """
    keys = body.keys() if isinstance(body, Mapping) else ()
    if "client_id" in keys or "app_instance_id" in keys:
        return ParsedEvents.collect(ga4_events(body, now))
    if "batch" in keys or "event" in keys or ("type" in keys and body["type"] in SEGMENT_CALLS):
        return ParsedEvents.collect(segment_events(body, now))
    return ParsedEvents.collect(own_events(body, now))
