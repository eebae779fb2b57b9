"""Events of Google Analytics 4 as its Measurement Protocol sends them.

A session is named as `ubm-embed ingest` names it: the client's id, a hyphen, and the `session_id` of the event's
parameters. An event without one belongs to a session that is named by the client alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from indexer.service.sessions.event import Event
from indexer.service.sessions.parsed_events import IgnoredEvent, SessionEvent
from indexer.service.sessions.shapes.fields import id_at, list_at, moment_at, name_at, object_at, product_from, text_at
from indexer.service.sessions.shapes.reasons import NO_PHRASE, NO_PRODUCT, NO_SESSION, OTHER_EVENT
from ubm_embed.data.logs.event_names import GA4_ACTIONS, GA4_CATEGORIES, GA4_PLACEHOLDERS
from ubm_embed.data.session import Action, Interaction


def ga4_events(body: Mapping[str, Any], now: float) -> Iterator[SessionEvent | IgnoredEvent]:
    """The events of a request, one for each of their items.

    Raises:
        InvalidData: names the field, as in `events[3].params.items`.
    """
    visitor = id_at(body, "client_id") or id_at(body, "app_instance_id") or id_at(body, "user_id")
    sent = moment_at(body, "timestamp_micros")
    for index, entry in enumerate(list_at(body.get("events"), "events")):
        event = object_at(entry, f"events[{index}]")
        action = GA4_ACTIONS.get(name_at(event, "name", f"events[{index}]"))
        if action is None or visitor is None:
            yield IgnoredEvent(index, OTHER_EVENT if action is None else NO_SESSION)
        else:
            yield from _events(index, event, Action(action), visitor, sent, now)


def _events(
    index: int, event: Mapping[str, Any], action: Action, visitor: str, sent: float | None, now: float
) -> Iterator[SessionEvent | IgnoredEvent]:
    field = f"events[{index}].params"
    params = object_at(event.get("params") or {}, field)
    number = id_at(params, "session_id", field) or id_at(params, "ga_session_id", field)
    at = moment_at(event, "timestamp_micros", f"events[{index}]") or sent
    found = _interactions(action, params, field)
    if not found:
        yield IgnoredEvent(index, NO_PHRASE if action is Action.SEARCH else NO_PRODUCT)
    for row, interaction in enumerate(found):
        event_id = None if at is None else _event_id(at, index, row, interaction)
        moment = now if at is None else min(at, now)
        yield SessionEvent(f"{visitor}-{number}" if number else visitor, Event(interaction, moment, event_id))


def _interactions(action: Action, params: Mapping[str, Any], field: str) -> list[Interaction]:
    """What a shopper did, once for each item. A page of search results lists items, but nothing was done with them."""
    if action is Action.SEARCH:
        phrase = _filled(params, "search_term", field)
        return [Interaction(action, query=phrase)] if phrase else []
    items = list_at(params.get("items") or [], f"{field}.items")
    found = (_interaction(action, item, f"{field}.items[{number}]") for number, item in enumerate(items))
    return [interaction for interaction in found if interaction is not None]


def _interaction(action: Action, entry: Any, field: str) -> Interaction | None:
    item = object_at(entry, field)
    product_id = id_at(item, "item_id", field)
    if product_id is None:
        return None
    categories = (_filled(item, name, field) for name in GA4_CATEGORIES)
    texts = {
        "title": _filled(item, "item_name", field),
        "category": " > ".join(filter(None, categories)) or None,
        "brand": _filled(item, "item_brand", field),
        "variant": _filled(item, "item_variant", field),
    }
    product = product_from(product_id, texts, field)
    return Interaction(action, product_id=None if product else product_id, product=product)


def _filled(entry: Mapping[str, Any], key: str, field: str) -> str | None:
    text = text_at(entry, key, field)
    return None if text in GA4_PLACEHOLDERS else text


def _event_id(at: float, index: int, row: int, interaction: Interaction) -> str:
    """An id for an event, which has none: the same when its request is sent again."""
    product = interaction.product
    subject = interaction.query or (product.product_id if product else interaction.product_id)
    text = f"{at!r} {index} {row} {interaction.action} {subject}"
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
