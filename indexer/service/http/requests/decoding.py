"""JSON of a request to values, and what is wrong with it in our words."""

from __future__ import annotations

import contextlib
import difflib
import re
import reprlib
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec

from indexer.service.http.errors import malformed
from ubm_embed.errors import InvalidData

T = TypeVar("T")


class Decoder(Generic[T]):
    """Reads bodies of one type.

    Several members of one name: the last one counts. Halves of surrogate pairs, which a page writes when it cuts a text
    within an emoji, are read as `?`.
    """

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._decoder = msgspec.json.Decoder(kind)

    def decode(self, body: bytes) -> T:
        """The value in a body.

        Raises:
            RequestError: 400, not JSON.
            InvalidData: JSON of another shape; names the field and what was expected.
        """
        try:
            return _read(self._decoder, body)
        except msgspec.ValidationError as error:
            raise _invalid(error, self._kind, _document(body)) from None


any_body: Decoder[Any] = Decoder(Any)


def from_texts(values: dict[str, Any], kind: type[T]) -> T:
    """A value of a type from texts by name, as a URL has them.

    Raises:
        InvalidData: names the field and what was expected.
    """
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        problem = msgspec.ValidationError(str(error).replace(", got `str`", ""))  # everything in a URL is a text
        raise _invalid(problem, kind, values) from None


def _read(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as error:
        repaired = _LONE_SURROGATE.sub(_repair, body)
        if repaired != body:
            return _read(decoder, repaired)
        raise malformed(_why(body, error)) from None
    except RecursionError:
        raise malformed("not JSON that can be read: too many brackets within one another") from None


def _document(body: bytes) -> Any:
    """A body as plain values; malformed if what follows an invalid value is no JSON."""
    with contextlib.suppress(msgspec.ValidationError):  # a number that nothing can hold
        return _read(msgspec.json.Decoder(), body)
    return None


def _invalid(error: msgspec.ValidationError, kind: Any, document: Any) -> InvalidData:
    problem, _, path = str(error).partition(" - at `$")
    field = path.removesuffix("`").removeprefix(".").replace("[...]", "")
    if unknown := _UNKNOWN_FIELD.fullmatch(problem):
        return _unknown_field(unknown[1], field, kind)
    if missing := _MISSING_FIELD.fullmatch(problem):
        return InvalidData("missing", field=f"{field}.{missing[1]}".lstrip("."))
    given = "" if "got" in problem else _given(document, path.removesuffix("`"))
    return InvalidData(f"{_in_our_words(problem)}{given}", field=field or None)


# An escaped backslash and whole pairs are matched so that they are passed over.
_LONE_SURROGATE = re.compile(
    rb"\\[^u]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING_FIELD = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_KINDS = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
}
_BOUND = re.compile(r"Expected `\w+`(?: of length)? (>=|<=|>|<) (\S+)")
_BOUNDS = {">=": "at least", "<=": "at most", ">": "above", "<": "below"}
_SHORT = reprlib.Repr()


def _repair(match: re.Match[bytes]) -> bytes:
    return match[0] if match[1] is None else b"?"


def _why(body: bytes, error: msgspec.DecodeError) -> str:
    if not body.strip():
        return "the body is empty; expected JSON"
    problem = str(error).removeprefix("JSON is malformed: ").replace("Input data was truncated", "it ends too early")
    return f"not JSON: {problem[:1].lower()}{problem[1:]}"


def _in_our_words(problem: str) -> str:
    """A message of msgspec, such as "Expected `int | null`, got `str`"."""
    if bound := _BOUND.fullmatch(problem):
        length = "its length " if " of length " in problem else ""
        number = float(bound[2])
        return f"{length}must be {_BOUNDS[bound[1]]} {f'{number:,.0f}' if number.is_integer() else number}"
    if problem == "Number out of range":
        return "expected a number that a double can hold"
    if problem == "Integer value out of range":
        return "expected a number of fewer digits"
    return re.sub(r"`([^`]*)`", _kinds, problem[:1].lower() + problem[1:])


def _kinds(match: re.Match[str]) -> str:
    *others, last = [_KINDS.get(name, name) for name in match[1].split(" | ")]
    return f"{', '.join(others)} or {last}" if others else last


def _unknown_field(name: str, parent: str, kind: Any) -> InvalidData:
    names = [field.encode_name for field in msgspec.structs.fields(kind)]
    similar = difflib.get_close_matches(name.lower(), names, 1)
    guess = f"; did you mean {similar[0]!r}?" if similar else ""
    return InvalidData(f"unknown{guess}; expected {', '.join(names)}", field=f"{parent}.{_cut(name)}".lstrip("."))


def _cut(name: str) -> str:
    return name if len(name) <= 100 else f"{name[:100]}..."


def _given(value: Any, path: str) -> str:
    """What stands at a path such as `.boost[...]`, as the end of a message; nothing if the path does not say where."""
    try:
        for step in _steps(path):
            value = value[step]
    except (LookupError, TypeError):
        return ""
    return f", got {len(value):,}" if isinstance(value, list | dict) else f", got {_SHORT.repr(value)}"


def _steps(path: str) -> Iterator[str | int]:
    for name, index in re.findall(r"\.([^.\[]+)|\[([^\]]*)\]", path):
        yield name or (int(index) if index.isdecimal() else index)
