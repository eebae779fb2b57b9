"""Fields of events that several shapes have: ids, moments, products, texts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from indexer.service.sessions.kept_interaction import text_length
from indexer.service.sessions.parsed_events import MAX_EVENTS
from ubm_embed.data.ids import BLANKS, clean_id
from ubm_embed.data.session import Product, encodable, field_path, identifier, kind_of
from ubm_embed.errors import InvalidData

MAX_ID = 256
MAX_TEXT = 10_000
# A number is seconds, milliseconds, microseconds or nanoseconds since 1970, so that it is in 1973 to 5138, as in logs.
_UNITS = ((1e11, 1.0), (1e14, 1e-3), (1e17, 1e-6), (math.inf, 1e-9))


def object_at(value: Any, field: str, what: str = "an object") -> Mapping[str, Any]:
    """A JSON object.

    Raises:
        InvalidData: anything else.
    """
    if isinstance(value, Mapping):
        return value
    raise InvalidData(f"expected {what}, got {kind_of(value)}", field=field or None)


def list_at(value: Any, field: str) -> list[Any]:
    """A list of no more than `MAX_EVENTS` entries.

    Raises:
        InvalidData: anything else.
    """
    if not isinstance(value, list):
        raise InvalidData(f"expected a list, got {kind_of(value)}", field=field)
    if len(value) > MAX_EVENTS:
        raise InvalidData(f"expected at most {MAX_EVENTS:,}, got {len(value):,}", field=field)
    return value


def id_at(entry: Mapping[str, Any], key: str, parent: str = "") -> str | None:
    """An id by the one rule for ids; None if it is missing, empty or a word for "no value".

    Raises:
        InvalidData: neither text nor a whole number, or too long.
    """
    text = identifier(entry, key, parent)
    found = None if text is None else clean_id(text)
    if found is not None and len(found) > MAX_ID:
        raise InvalidData(f"expected at most {MAX_ID} characters, got {len(found):,}", field=field_path(parent, key))
    return found


def required_id_at(entry: Mapping[str, Any], key: str, parent: str = "") -> str:
    """An id by the one rule for ids.

    Raises:
        InvalidData: missing, no id, or too long.
    """
    found = id_at(entry, key, parent)
    if found is None:
        given = identifier(entry, key, parent)
        problem = f"expected an id, got {'nothing' if given is None else repr(given[:64])}"
        raise InvalidData(problem, field=field_path(parent, key))
    return found


def session_id_at(entry: Mapping[str, Any], parent: str = "") -> str:
    """The id of a session, as all requests name it.

    Raises:
        InvalidData: as of `required_id_at`.
    """
    return required_id_at(entry, "session_id", parent)


def name_at(entry: Mapping[str, Any], key: str, parent: str = "") -> str:
    """The name of an event.

    Raises:
        InvalidData: missing, or not text.
    """
    value = entry.get(key)
    if isinstance(value, str):
        return value
    raise InvalidData(f"expected the name of an event, got {kind_of(value)}", field=field_path(parent, key))


def moment_at(entry: Mapping[str, Any], key: str, parent: str = "") -> float | None:
    """Seconds since 1970 of a time as text (ISO 8601; UTC unless it names a zone) or as a number; None if missing.

    Raises:
        InvalidData: not a time, or before 1970.
    """
    value = entry.get(key)
    if value is None or value == "":
        return None
    moment = _number(value) if isinstance(value, int | float) and not isinstance(value, bool) else _from_text(value)
    if moment is None or not 0 <= moment < math.inf:
        problem = f"expected a time since 1970 (ISO 8601 or a number), got {_short(value)}"
        raise InvalidData(problem, field=field_path(parent, key))
    return moment


def text_at(entry: Mapping[str, Any], key: str, parent: str = "") -> str | None:
    """A text without blanks around it; of a number its digits, of a list its texts. None if there is none in it.

    Raises:
        InvalidData: too long.
    """
    value = entry.get(key)
    parts = value[:MAX_EVENTS] if isinstance(value, list) else [value]
    texts = [str(part) for part in parts if isinstance(part, str | int | float) and not isinstance(part, bool)]
    text = encodable(" > ".join(texts).strip(BLANKS))
    require_short(len(text), field_path(parent, key))
    return text or None


def require_short(characters: int, field: str) -> None:
    """Refuse a text that nobody writes.

    Raises:
        InvalidData: too long.
    """
    if characters > MAX_TEXT:
        raise InvalidData(f"expected at most {MAX_TEXT:,} characters, got {characters:,}", field=field)


def product_from(product_id: str, texts: Mapping[str, str | None], field: str) -> Product | None:
    """A product that an event describes: `title`, `category` and attributes. None if nothing is said of it.

    Raises:
        InvalidData: too long.
    """
    given = {name: text for name, text in texts.items() if text is not None}
    if not given:
        return None
    title, category = given.pop("title", ""), given.pop("category", None)
    product = Product(title, category, tuple(given.items()), product_id)
    require_short(text_length(product), field)
    return product


def _number(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    return next((number * unit for limit, unit in _UNITS if abs(number) < limit), None)


def _from_text(value: Any) -> float | None:
    if not isinstance(value, str) or len(value) > 64:
        return None
    text = value.strip(BLANKS)
    try:
        return _number(float(text))
    except ValueError:
        pass
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _short(value: Any) -> str:
    return repr(value[:64]) if isinstance(value, str) else kind_of(value)
