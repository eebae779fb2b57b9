"""Events in our own shape: an interaction with its session, and if the page knows them its id, time and answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from indexer.service.sessions.event import Event
from indexer.service.sessions.kept_interaction import text_length
from indexer.service.sessions.parsed_events import SessionEvent
from indexer.service.sessions.shapes.fields import (
    id_at,
    list_at,
    moment_at,
    object_at,
    require_short,
    session_id_at,
)
from ubm_embed.data.session import Interaction, field_path, parse_interaction
from ubm_embed.errors import InvalidData

_INTERACTION = ("action", "product_id", "product", "query")
_FIELDS = ("session_id", *_INTERACTION, "event_id", "timestamp", "answer_id")
_EXPECTED = "an event object with session_id and action"


def own_events(body: Any, now: float) -> Iterator[SessionEvent]:
    """The events of a request: one, a list, `{"events": [...]}`, or `{"session_id", "interactions": [...]}`.

    Raises:
        InvalidData: names the field, as in `events[3].action`.
    """
    if isinstance(body, list):
        return _events(body, "", None, now)
    entry = object_at(body, "", f"{_EXPECTED}, or a list of them")
    key = next((key for key in ("events", "interactions") if key in entry), None)
    if key is None:
        return iter([_event(entry, "", None, now)])
    _require_known(entry, ("session_id", key), "")
    return _events(entry[key], key, id_at(entry, "session_id"), now)


def _events(entries: Any, field: str, session_id: str | None, now: float) -> Iterator[SessionEvent]:
    for number, entry in enumerate(list_at(entries, field)):
        yield _event(entry, f"{field}[{number}]", session_id, now)


def _event(entry: Any, field: str, session_id: str | None, now: float) -> SessionEvent:
    given = object_at(entry, field, _EXPECTED)
    _require_known(given, _FIELDS, field)
    moment = moment_at(given, "timestamp", field)
    event = Event(
        interaction=_interaction(given, field),
        moment=now if moment is None else min(moment, now),
        event_id=id_at(given, "event_id", field),
        answer_id=id_at(given, "answer_id", field),
    )
    if session_id is None or given.get("session_id") is not None:
        session_id = session_id_at(given, field)
    return SessionEvent(session_id, event)


def _interaction(entry: Mapping[str, Any], field: str) -> Interaction:
    try:
        found = parse_interaction(entry)
    except InvalidData as error:
        raise InvalidData(error.problem, field=field_path(field, error.field or "") or None) from None
    if found.query is not None:
        require_short(len(found.query), field_path(field, "query"))
        return found
    if found.product is not None:
        product = replace(found.product, product_id=id_at(entry["product"], "product_id", field_path(field, "product")))
        require_short(text_length(product), field_path(field, "product"))
        return replace(found, product=product)
    product_id = id_at(entry, "product_id", field)
    if product_id is None:
        problem = f"expected an id, got {(found.product_id or '')[:64]!r}"
        raise InvalidData(problem, field=field_path(field, "product_id"))
    return replace(found, product_id=product_id)


def _require_known(entry: Mapping[str, Any], known: tuple[str, ...], field: str) -> None:
    if not entry.keys() <= set(known):
        name = next(name for name in entry if name not in known)
        raise InvalidData(f"unknown field; expected {', '.join(known)}", field=field_path(field, str(name)[:64]))
