"""How JSON is read at once where its first rows agree on what is an object and what is a value.

Reading records as such is several times as fast as reading their text and decoding it, but fits one form only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

_Names = tuple[str, ...]


def record_schema(rows: Sequence[Any], paths: Sequence[_Names], each: _Names | None) -> pl.DataType | None:
    """The type that holds what `paths` lead to in all of `rows`, or None if they do not have one form.

    Args:
        rows: decoded values.
        paths: names that lead on; none for the value itself.
        each: names that lead to a list of which each entry is meant; paths lead on from its entries.
    """
    values = [row for row in rows if row is not None]
    if each == ():
        entries = [entry for value in values if isinstance(value, list) for entry in value]
        inner = record_schema(entries, paths, None) if all(isinstance(value, list) for value in values) else None
        return pl.List(inner) if values and inner is not None else None
    if all(path == () for path in paths) and each is None:
        return None if any(isinstance(value, dict | list) for value in values) else pl.String()
    if () in paths or not values or not all(isinstance(value, dict) for value in values):
        return None
    return _struct(values, paths, each)


def _struct(values: Sequence[dict[str, Any]], paths: Sequence[_Names], each: _Names | None) -> pl.DataType | None:
    keys = {key for value in values for key in value}
    below: dict[str, list[_Names]] = {}
    for path in paths:
        key, rest = _split(path, keys)
        below.setdefault(key, []).append(rest)
    each_key, each_rest = _split(each, keys) if each is not None else (None, None)
    fields: dict[str, pl.DataType] = {}
    for key in dict.fromkeys([*below, *([each_key] if each_key is not None else [])]):
        inner = [value.get(key) for value in values]
        dtype = record_schema(inner, below.get(key, []), each_rest if key == each_key else None)
        if dtype is None:
            return None
        fields[key] = dtype
    return pl.Struct(fields)


def _split(path: _Names, keys: set[str]) -> tuple[str, _Names]:
    """The key that a path begins with, which may have dots, and the names after it."""
    for end in range(len(path), 0, -1):
        if ".".join(path[:end]) in keys:
            return ".".join(path[:end]), path[end:]
    return path[0], path[1:]
