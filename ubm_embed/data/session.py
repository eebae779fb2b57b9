"""Products, interactions and sessions, and the session file a query reads (paper section 3).

A session is `s = [b_1 .. b_l]`; an interaction `b` is an action with a product or with a search phrase.
"""

from __future__ import annotations

import enum
import json
import re
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from ubm_embed.errors import InvalidData


class Action(enum.StrEnum):
    """What the shopper did. The first four are the paper's, and each has a special token (3.1.1).

    A removal from the cart has one only in models that learned from enough of them; others read a session with
    removals by taking the adds back (`removals.take_back`).
    """

    SEARCH = "search"
    VIEW = "view"
    ADD = "add"
    BUY = "buy"
    REMOVE = "remove"  # the last, so that the codes of the others are those of earlier versions

    @property
    def code(self) -> int:
        """Index in this enum: arrays hold actions as these numbers, in uint8."""
        return ACTIONS.index(self)


ACTIONS: tuple[Action, ...] = tuple(Action)

# Beyond what a shopper does or a shop writes: the price of a request must not depend on who sends it.
MAX_INTERACTIONS = 100_000
MAX_CHARACTERS = 100_000

_DECODER = json.JSONDecoder()
_BETWEEN_ENTRIES = re.compile(r"[\s,]*")


@dataclass(frozen=True, slots=True)
class Product:
    """A product by its text: title, category and attributes are all that the model reads.

    Attributes:
        product_id: the shop's own id; None for a product given inline in a query.
        attributes: (name, value) pairs in the shop's order.
    """

    title: str
    category: str | None = None
    attributes: tuple[tuple[str, str], ...] = ()
    product_id: str | None = None

    def __post_init__(self) -> None:
        # Products are hashed, and attributes that come from JSON are lists.
        object.__setattr__(self, "attributes", tuple(map(tuple, self.attributes)))

    @property
    def has_text(self) -> bool:
        """Whether it has any text for the model to read."""
        values = (self.title, self.category or "", *(value for _, value in self.attributes))
        return any(value.strip() for value in values)


@dataclass(frozen=True, slots=True)
class Interaction:
    """One action with a product or a search phrase.

    Exactly one of the three is set: `product_id` (to be looked up in a store), `product` (given inline) or `query`.
    """

    action: Action
    product_id: str | None = None
    product: Product | None = None
    query: str | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("product_id", "product", "query") if getattr(self, name) is not None]
        expected = ["query"] if self.action is Action.SEARCH else ["product_id", "product"]
        if len(given) != 1 or given[0] not in expected:
            got = " and ".join(given) or "none of them"
            raise ValueError(f"action {str(self.action)!r} needs {' or '.join(expected)}, got {got}")


@dataclass(frozen=True, slots=True)
class Session:
    """The ordered interactions of one visit."""

    interactions: tuple[Interaction, ...]
    session_id: str | None = None


def read_sessions(stream: TextIO, *, name: str) -> Iterator[tuple[int, Session]]:
    """Sessions of a JSON document (one session, or a list of them) or of JSON Lines, with the line each starts on.

    Args:
        stream: text to read to its end.
        name: of the stream, for errors.

    Raises:
        InvalidData: malformed JSON or not a session; names the line and the field.
    """
    text = stream.read().removeprefix("\ufeff")
    if not text.strip():
        raise InvalidData("empty; expected a session as JSON", file=name)
    for line, entry in _entries(text, name):
        yield line, parse_session(entry, file=name, row=line)


def _entries(text: str, name: str) -> Iterator[tuple[int, Any]]:
    """The JSON values in `text`, each with the line it starts on."""
    # Not splitlines: a title may contain a line separator (U+2028).
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if len(lines) > 1 and _is_json(lines[0][1]):
        for number, line in lines:
            # Files that were joined have a mark each.
            yield number, read_json(line.removeprefix("\ufeff"), name, number)
        return
    document = read_json(text, name)
    if isinstance(document, list):
        yield from zip(_entry_lines(text, len(document)), document, strict=True)
    else:
        yield lines[0][0], document


def _entry_lines(text: str, entries: int) -> Iterator[int]:
    """The line on which each entry of a JSON list starts; `text` must be a valid one."""
    counted, line = 0, 1
    end = text.index("[") + 1
    for _ in range(entries):
        start = _BETWEEN_ENTRIES.match(text, end).end()  # type: ignore[union-attr]  # it matches an empty text, too
        counted, line = start, line + text.count("\n", counted, start)
        yield line
        _, end = _DECODER.raw_decode(text, start)


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def read_json(text: str, name: str, line: int | None = None) -> Any:
    """The value in a JSON document.

    Args:
        name: of the document, for errors.
        line: where the text stands in it, if it is one line of many.

    Raises:
        InvalidData: not JSON, or nested too deeply to be read.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at")  # as some of Python's messages end
        problem = f"not JSON: {what} at column {error.colno}"
        raise InvalidData(problem, file=name, row=line or error.lineno) from None
    except RecursionError:
        problem = "not JSON that can be read: too many brackets within one another"
        raise InvalidData(problem, file=name, row=line) from None
    except ValueError:
        problem = "not JSON that can be read: a number of thousands of digits"
        raise InvalidData(problem, file=name, row=line) from None


def parse_session(entry: Any, *, file: str | None = None, row: int | None = None) -> Session:
    """A session from its JSON object.

    Raises:
        InvalidData: names the field, as in `interactions[2].action`.
    """
    try:
        return _parse_session(entry)
    except InvalidData as error:
        raise InvalidData(error.problem, file=file, row=row, field=error.field) from None


def _parse_session(entry: Any) -> Session:
    if not isinstance(entry, Mapping):
        raise InvalidData(f"expected a session object, got {_kind(entry)}")
    interactions = entry.get("interactions")
    if not isinstance(interactions, list):
        raise InvalidData(f"expected a list of interactions, got {_kind(interactions)}", field="interactions")
    if len(interactions) > MAX_INTERACTIONS:
        problem = f"expected at most {MAX_INTERACTIONS:,} interactions, got {len(interactions):,}"
        raise InvalidData(problem, field="interactions")
    parsed = [_parse_interaction(item, f"interactions[{position}]") for position, item in enumerate(interactions)]
    return Session(tuple(parsed), _identifier(entry, "session_id"))


def _parse_interaction(entry: Any, field: str) -> Interaction:
    if not isinstance(entry, Mapping):
        raise InvalidData(f"expected an interaction object, got {_kind(entry)}", field=field)
    name = entry.get("action")
    if name not in list(ACTIONS):
        expected = f"expected one of {', '.join(ACTIONS)}"
        problem = f"unknown action {reprlib.repr(name)}, {expected}" if name is not None else f"{expected}, got nothing"
        raise InvalidData(problem, field=f"{field}.action")
    product = entry.get("product")
    product_id, query = _identifier(entry, "product_id", field), _text(entry, "query", field)
    parsed = None if product is None else parse_product(product, f"{field}.product")
    try:
        return Interaction(Action(name), product_id=product_id, product=parsed, query=query)
    except ValueError as error:
        raise InvalidData(str(error), field=field) from None


def parse_product(entry: Any, field: str = "") -> Product:
    """A product from a JSON object `{"title", "category", "attributes": {name: value} or [{"name", "value"}]}`.

    Args:
        field: path of the object in its document, for errors.

    Raises:
        InvalidData: names the field.
    """
    if not isinstance(entry, Mapping):
        raise InvalidData(f"expected a product object, got {_kind(entry)}", field=field or None)
    product = Product(
        title=_text(entry, "title", field) or "",
        category=_text(entry, "category", field),
        attributes=_attributes(entry.get("attributes"), _under(field, "attributes")),
        product_id=_identifier(entry, "product_id", field),
    )
    if not product.has_text:
        raise InvalidData("a product without text: expected a title, a category or an attribute", field=field or None)
    if sum(len(name) + len(value) for name, value in product.attributes) > MAX_CHARACTERS:
        problem = f"expected attributes of at most {MAX_CHARACTERS:,} characters"
        raise InvalidData(problem, field=_under(field, "attributes"))
    return product


def _attributes(entry: Any, field: str) -> tuple[tuple[str, str], ...]:
    if entry is None:
        return ()
    if isinstance(entry, Mapping):
        pairs = list(entry.items())
    elif isinstance(entry, list) and all(
        isinstance(pair, Mapping) and {"name", "value"} <= pair.keys() for pair in entry
    ):
        pairs = [(pair["name"], pair["value"]) for pair in entry]
    else:
        raise InvalidData('expected {"name": "value"} or a list of {"name", "value"}', field=field)
    for part in (part for pair in pairs for part in pair):
        if not isinstance(part, str | int | float):
            raise InvalidData(f"expected text as names and values, got {_kind(part)}", field=field)
    return tuple((encodable(str(name)), encodable(str(value))) for name, value in pairs)


def _identifier(entry: Mapping[str, Any], key: str, parent: str = "") -> str | None:
    value = entry.get(key)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)  # of a table in which one id was missing
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # ids are often numbers; a corpus holds them as text
    return _text(entry, key, parent)


def _text(entry: Mapping[str, Any], key: str, parent: str = "") -> str | None:
    value = entry.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidData(f"expected a string, got {_kind(value)}", field=_under(parent, key))
    if len(value) > MAX_CHARACTERS:
        problem = f"expected at most {MAX_CHARACTERS:,} characters, got {len(value):,}"
        raise InvalidData(problem, field=_under(parent, key))
    return encodable(value)


def encodable(text: str) -> str:
    """The text with `?` for halves of surrogate pairs, which UTF-8 cannot encode: a page may cut within an emoji."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _under(parent: str, key: str) -> str:
    return f"{parent}.{key}" if parent else key


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", type(None): "nothing", bool: "true or false"}
    return names.get(type(value), "a number")
