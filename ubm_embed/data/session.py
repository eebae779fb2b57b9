"""Products, interactions and sessions, and how they are written as JSON (paper section 3).

A session is `s = [b_1 .. b_l]`; an interaction `b` is an action with a product or with a search phrase.
"""

from __future__ import annotations

import enum
import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
_ACTIONS = {str(action): action for action in ACTIONS}

# The price of a request must not depend on who sends it. Of a longer session only the last interactions are parsed, far
# more than a model reads; a longer text is beyond what a shop writes, and refused.
MAX_INTERACTIONS = 1_000
MAX_CHARACTERS = 100_000


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
        subjects = (self.product_id is not None) + (self.product is not None) + (self.query is not None)
        is_search = self.action is Action.SEARCH
        if subjects != 1 or (self.query is not None) != is_search:
            given = [name for name in ("product_id", "product", "query") if getattr(self, name) is not None]
            expected = "query" if is_search else "product_id or product"
            raise ValueError(f"action {str(self.action)!r} needs {expected}, got {' and '.join(given) or 'nothing'}")


@dataclass(frozen=True, slots=True)
class Session:
    """The ordered interactions of one visit."""

    interactions: tuple[Interaction, ...]
    session_id: str | None = None


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
    """A session from its JSON object: its last `MAX_INTERACTIONS` interactions, the others are not looked at.

    Raises:
        InvalidData: names the field, as in `interactions[2].action`.
    """
    try:
        return _parse_session(entry)
    except InvalidData as error:
        raise InvalidData(error.problem, file=file, row=row, field=error.field) from None


def _parse_session(entry: Any) -> Session:
    if not isinstance(entry, Mapping):
        raise InvalidData(f"expected a session object, got {kind_of(entry)}")
    interactions = entry.get("interactions")
    if not isinstance(interactions, list):
        raise InvalidData(f"expected a list of interactions, got {kind_of(interactions)}", field="interactions")
    recent = interactions[-MAX_INTERACTIONS:]
    parsed = []
    for number, item in enumerate(recent, start=len(interactions) - len(recent)):
        try:
            parsed.append(parse_interaction(item))
        except InvalidData as error:
            raise InvalidData(error.problem, field=field_path(f"interactions[{number}]", error.field or "")) from None
    return Session(tuple(parsed), identifier(entry, "session_id"))


def parse_interaction(entry: Any) -> Interaction:
    """An interaction from a JSON object `{"action", "product_id" or "product" or "query"}`.

    Raises:
        InvalidData: names the field, relative to the object.
    """
    if not isinstance(entry, Mapping):
        raise InvalidData(f"expected an interaction object, got {kind_of(entry)}")
    name = entry.get("action")
    action = _ACTIONS.get(name) if isinstance(name, str) else None
    if action is None:
        expected = f"expected one of {', '.join(ACTIONS)}"
        problem = f"unknown action {reprlib.repr(name)}, {expected}" if name is not None else f"{expected}, got nothing"
        raise InvalidData(problem, field="action")
    product = entry.get("product")
    product_id, query = identifier(entry, "product_id"), _text(entry, "query")
    parsed = None if product is None else parse_product(product, "product")
    try:
        return Interaction(action, product_id=product_id, product=parsed, query=query)
    except ValueError as error:
        raise InvalidData(str(error)) from None


def parse_product(entry: Any, field: str = "") -> Product:
    """A product from a JSON object `{"title", "category", "attributes": {name: value} or [{"name", "value"}]}`.

    Args:
        field: path of the object in its document, for errors.

    Raises:
        InvalidData: names the field.
    """
    if not isinstance(entry, Mapping):
        raise InvalidData(f"expected a product object, got {kind_of(entry)}", field=field or None)
    product = Product(
        title=_text(entry, "title", field) or "",
        category=_text(entry, "category", field),
        attributes=_attributes(entry.get("attributes"), field_path(field, "attributes")),
        product_id=identifier(entry, "product_id", field),
    )
    if not product.has_text:
        raise InvalidData("a product without text: expected a title, a category or an attribute", field=field or None)
    if sum(len(name) + len(value) for name, value in product.attributes) > MAX_CHARACTERS:
        problem = f"expected attributes of at most {MAX_CHARACTERS:,} characters"
        raise InvalidData(problem, field=field_path(field, "attributes"))
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
            raise InvalidData(f"expected text as names and values, got {kind_of(part)}", field=field)
    return tuple((encodable(str(name)), encodable(str(value))) for name, value in pairs)


def identifier(entry: Mapping[str, Any], key: str, parent: str = "") -> str | None:
    """The text of an id in a JSON object, which may be a number there; None if it is missing or null.

    Args:
        parent: path of the object in its document, for errors.

    Raises:
        InvalidData: neither text nor a whole number.
    """
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
        raise InvalidData(f"expected a string, got {kind_of(value)}", field=field_path(parent, key))
    if len(value) > MAX_CHARACTERS:
        problem = f"expected at most {MAX_CHARACTERS:,} characters, got {len(value):,}"
        raise InvalidData(problem, field=field_path(parent, key))
    return encodable(value)


def encodable(text: str) -> str:
    """The text with `?` for halves of surrogate pairs, which UTF-8 cannot encode: a page may cut within an emoji."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def field_path(parent: str, key: str) -> str:
    """The path of a field in a JSON document, from that of its object and its own; either may be empty."""
    return f"{parent}.{key}" if parent and key else parent or key


def kind_of(value: Any) -> str:
    """What a value of a JSON document is, in words, for errors."""
    names = {dict: "an object", list: "a list", str: "a string", type(None): "nothing", bool: "true or false"}
    return names.get(type(value), "a number")
