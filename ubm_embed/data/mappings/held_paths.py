"""Whether a file has the keys that a mapping names where no row has a value: a second look, before an error."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any

import polars as pl

from ubm_embed.data.mappings.json_text import at, loads
from ubm_embed.data.mappings.mapped_rows import MappedRows
from ubm_embed.data.mappings.mapping import CatalogueMapping, LogMapping
from ubm_embed.data.mappings.paths import first_column
from ubm_embed.data.tables.text_stream import BrokenTextError, utf8_chunks

_MISSING = object()
_ROWS = 10_000  # at a time


def without_key(rows: MappedRows, part: LogMapping | CatalogueMapping, paths: Collection[str]) -> frozenset[str]:
    """Those of `paths`, of which no row has a value, whose key no row has either."""
    left = set(paths)
    if rows.in_lines:
        for row in _objects(rows, part, left):
            left -= {path for path in left if _holds(row, path, part)}
            if not left:
                break
        return frozenset(left)
    schema = rows.frame.collect_schema()
    columns = {path: name for path in paths if (name := first_column(path, schema)) in schema}
    left -= {path for path, name in columns.items() if path == name}
    nested = {columns[path] for path in left if path in columns and schema[columns[path]] == pl.String}
    if nested:
        for batch in rows.frame.select(sorted(nested)).collect_batches(chunk_size=_ROWS, maintain_order=False):
            for texts in batch.iter_rows(named=True):
                row = {name: _decoded(text) for name, text in texts.items()}
                left -= {path for path in left if columns.get(path) in nested and _holds(row, path, part)}
            if not left:
                break
    return frozenset(left)


def _objects(rows: MappedRows, part: LogMapping | CatalogueMapping, left: Collection[str]) -> Iterator[dict[str, Any]]:
    """The objects of lines in which the last name of one of the paths occurs."""
    rest = b""
    with suppress(BrokenTextError):
        for chunk in utf8_chunks(rows.file):
            *lines, rest = (rest + chunk).split(b"\n")
            names = [] if part.ignore_case else [path.rpartition(".")[2].encode() for path in left]
            for line in lines:
                if part.ignore_case or any(name in line for name in names):
                    yield from _object(line, part)
        yield from _object(rest, part)


def _object(line: bytes, part: LogMapping | CatalogueMapping) -> Iterator[dict[str, Any]]:
    with suppress(ValueError, RecursionError):
        row = json.loads(line)
        if isinstance(row, dict):
            yield {name.lower(): value for name, value in row.items()} if part.ignore_case else row


def _holds(row: dict[str, Any], path: str, part: LogMapping | CatalogueMapping) -> bool:
    list_ = part.each.path if part.each else None
    if list_ is None or not path.startswith(f"{list_}."):
        return at(row, tuple(path.split(".")), _MISSING) is not _MISSING
    entries = _decoded(at(row, tuple(list_.split("."))))
    names = tuple(path[len(list_) + 1 :].split("."))
    return isinstance(entries, list) and any(at(entry, names, _MISSING) is not _MISSING for entry in entries)


def _decoded(text: Any) -> Any:
    if isinstance(text, str):
        with suppress(ValueError):
            return loads(text)
    return text
