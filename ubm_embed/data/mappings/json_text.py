"""JSON in the cells of a table: the values at some paths, as text.

Decoded by Python's own parser rather than that of polars: it keeps `1.50` and ids of thirty digits as they are written,
and one malformed cell does not stop the others.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import polars as pl

PROBLEM = "problem"
KEYS = ("key", "name")  # of an entry with a `value`, in a list that stands for a record
_NOT_JSON = "not JSON"
# Made once: `json.loads` would make one for each text.
_DECODER = json.JSONDecoder(parse_float=str, parse_constant=lambda _: None)


def decode_records(texts: pl.Series, paths: Sequence[tuple[str, ...]]) -> pl.Series:
    """For each JSON text a struct of texts, named `0`, `1`, … as the paths, and `problem`: what is wrong, or null.

    A list stays JSON text. Null, an empty text and an empty list are records without fields.
    """
    columns: list[list[str | None]] = [[] for _ in paths]
    problems: list[str | None] = []
    for text in texts:
        record, problem = _record(text)
        problems.append(problem)
        for column, path in zip(columns, paths, strict=True):
            column.append(None if record is None else as_text(at(record, path)))
    named = {str(number): column for number, column in enumerate(columns)} | {PROBLEM: problems}
    return pl.DataFrame(named, schema=dict.fromkeys(named, pl.String)).to_struct(texts.name)


def record_type(paths: Sequence[tuple[str, ...]]) -> pl.Struct:
    """The type that `decode_records` returns."""
    return pl.Struct({**{str(number): pl.String for number in range(len(paths))}, PROBLEM: pl.String})


def decode_lists(texts: pl.Series) -> pl.Series:
    """For each JSON text of a list its entries as text, an object as JSON text; null if there are none.

    What is no list becomes a list of one text that is no JSON either, so that its row is reported and not lost.
    """
    return pl.Series(texts.name, [_decode_list(text) for text in texts], dtype=pl.List(pl.String))


def joined_lists(texts: pl.Series, separator: str) -> pl.Series:
    """`texts`, with the entries of those that are JSON lists of values joined."""
    if not texts.str.starts_with("[").any():
        return texts
    return pl.Series(texts.name, [_joined(text, separator) for text in texts], dtype=pl.String)


def loads(text: str) -> Any:
    """The JSON value, fractions as they are written.

    Raises:
        ValueError: not JSON, or nested too deeply.
    """
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _record(text: str | None) -> tuple[Any, str | None]:
    """An object or a list, or None, and what is wrong."""
    try:
        record = loads(text) if text and not text.isspace() else None
    except ValueError:
        return None, _NOT_JSON
    if record is None or isinstance(record, dict | list):
        return record, None
    return None, "expected a JSON object"


def _decode_list(text: str | None) -> list[str | None] | None:
    try:
        entries = loads(text) if text and text.strip() else None
    except ValueError:
        return [text]
    if entries is None or entries == []:
        return None
    return [as_text(entry) for entry in entries] if isinstance(entries, list) else [text]


def _joined(text: str | None, separator: str) -> str | None:
    if text is None or not text.startswith("["):
        return text
    try:
        entries = loads(text)
    except ValueError:
        return text
    if not isinstance(entries, list) or any(isinstance(entry, dict | list) for entry in entries):
        return text
    return separator.join(filled for entry in entries if (filled := as_text(entry)))


def at(value: Any, names: tuple[str, ...], default: Any = None) -> Any:
    """The value at a path inside a decoded one; `default` where the path leads nowhere."""
    while names:
        if isinstance(value, str):
            try:
                value = loads(value)
            except ValueError:
                return default
        if isinstance(value, list):
            value, names = _entry(value, names[0], default), names[1:]
        elif isinstance(value, dict):
            end = next((end for end in range(len(names), 0, -1) if ".".join(names[:end]) in value), 0)
            if not end:
                return default
            value, names = value[".".join(names[:end])], names[end:]
        else:
            return default
    return value


def _entry(entries: list[Any], name: str, default: Any) -> Any:
    """By its index, or the value of the one with this key."""
    if name.isdecimal():
        return entries[int(name)] if int(name) < len(entries) else default
    for entry in entries:
        if isinstance(entry, dict) and any(entry.get(key) == name for key in KEYS):
            return entry.get("value")
    return default


def as_text(value: Any) -> str | None:
    """A decoded value as text."""
    if value is None:
        return None
    if isinstance(value, str):
        # Half of an emoji is valid JSON and no valid text.
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, dict | list) else str(value)
