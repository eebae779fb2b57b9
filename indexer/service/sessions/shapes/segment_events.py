"""Track calls of Segment's e-commerce specification, one or a batch. RudderStack's are the same.

A call names no session, so its shopper does: by the anonymous id, which stays after a login, else by the user id. Such
a session ends after a pause as long as sessions are kept, as a visit does for `ubm-embed ingest`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from indexer.service.sessions.event import Event
from indexer.service.sessions.parsed_events import IgnoredEvent, SessionEvent
from indexer.service.sessions.shapes.fields import (
    id_at,
    list_at,
    moment_at,
    name_at,
    object_at,
    product_from,
    text_at,
)
from indexer.service.sessions.shapes.reasons import NO_PHRASE, NO_PRODUCT, NO_SESSION, OTHER_EVENT
from ubm_embed.data.logs.event_names import SEGMENT_ACTIONS, SEGMENT_ORDER, SEGMENT_OTHER_CALLS, SEGMENT_TIMES
from ubm_embed.data.session import Action, Interaction, field_path

SEGMENT_CALLS = ("track", *SEGMENT_OTHER_CALLS)


def segment_events(body: Mapping[str, Any], now: float) -> Iterator[SessionEvent | IgnoredEvent]:
    """The events of a request, one for each product of an order.

    Raises:
        InvalidData: names the field, as in `batch[3].properties.products`.
    """
    if "batch" not in body:
        yield from _events(0, body, "", now)
        return
    for index, entry in enumerate(list_at(body["batch"], "batch")):
        yield from _events(index, object_at(entry, f"batch[{index}]"), f"batch[{index}]", now)


def _events(index: int, call: Mapping[str, Any], field: str, now: float) -> Iterator[SessionEvent | IgnoredEvent]:
    if call.get("type") not in (None, "track"):
        yield IgnoredEvent(index, OTHER_EVENT)
        return
    name, visitor = name_at(call, "event", field), id_at(call, "anonymousId", field) or id_at(call, "userId", field)
    action = SEGMENT_ACTIONS.get(name)
    if action is None or visitor is None:
        yield IgnoredEvent(index, OTHER_EVENT if action is None else NO_SESSION)
        return
    properties = object_at(call.get("properties") or {}, field_path(field, "properties"))
    found = _interactions(Action(action), name == SEGMENT_ORDER, properties, field_path(field, "properties"))
    if not found:
        yield IgnoredEvent(index, NO_PHRASE if action == Action.SEARCH else NO_PRODUCT)
    message_id, moment = id_at(call, "messageId", field), _moment(call, field, now)
    for number, interaction in enumerate(found):
        event_id = f"{message_id}-{number}" if message_id and number else message_id
        yield SessionEvent(visitor, Event(interaction, moment, event_id))


def _moment(call: Mapping[str, Any], field: str, now: float) -> float:
    moments = (moment_at(call, key, field) for key in SEGMENT_TIMES)
    return min(next((moment for moment in moments if moment is not None), now), now)


def _interactions(action: Action, is_order: bool, properties: Mapping[str, Any], field: str) -> list[Interaction]:
    if action is Action.SEARCH:
        phrase = text_at(properties, "query", field)
        return [Interaction(action, query=phrase)] if phrase else []
    if not is_order:
        lines = [_interaction(action, properties, field)]
    else:
        products = list_at(properties.get("products") or [], f"{field}.products")
        lines = [_interaction(action, line, f"{field}.products[{number}]") for number, line in enumerate(products)]
    return [line for line in lines if line is not None]


def _interaction(action: Action, entry: Any, field: str) -> Interaction | None:
    line = object_at(entry, field)
    product_id = id_at(line, "product_id", field) or id_at(line, "sku", field)
    if product_id is None:
        return None
    names = {"title": "name", "category": "category", "brand": "brand", "variant": "variant"}
    product = product_from(product_id, {ours: text_at(line, name, field) for ours, name in names.items()}, field)
    return Interaction(action, product_id=None if product else product_id, product=product)
