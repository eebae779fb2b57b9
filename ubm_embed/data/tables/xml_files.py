"""XML feeds (RSS, Atom, Google Merchant): each `item` or `entry` is a row, its elements are columns of text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from xml.parsers import expat

import polars as pl

from ubm_embed.data.tables.streamed_table import streamed_table
from ubm_embed.data.tables.text_stream import CHUNK_BYTES, MAX_RECORD_BYTES, byte_chunks
from ubm_embed.errors import InvalidData

_ROWS = ("item", "entry", "product", "offer")
_GOOGLE = "http://base.google.com/ns/1.0"
_BATCH = 10_000
_MAX_DEPTH = 100

# The elements in an element: (namespace, value) by name, more than one where they are repeated.
_Fields: TypeAlias = dict[str, list[tuple[str, Any]]]


def scan_xml(file: Path, *, chunk_bytes: int = CHUNK_BYTES) -> pl.LazyFrame:
    """The rows of a feed, by the local names of their elements; the file is searched for all names at once.

    Repeated elements are a list and elements with elements of their own an object, both as JSON text. Of two elements
    of one name, `title` and `g:title`, Google's counts. An element without text is its `href`, as Atom has links. The
    attributes of an item are columns as well.

    Raises:
        InvalidData: no rows, malformed XML, with its row, line and column, or entities of the file's own.
    """
    names: dict[str, None] = {}
    for row in _rows(file, chunk_bytes):
        names.update(dict.fromkeys(row))
    if not names:
        raise InvalidData(f"no rows; expected elements {' or '.join(_ROWS)}", file=file)
    schema: dict[str, pl.DataType] = dict.fromkeys(names, pl.String())

    def frames(columns: list[str]) -> Iterator[pl.DataFrame]:
        rows: list[dict[str, str]] = []
        for row in _rows(file, chunk_bytes):
            rows.append(row)
            if len(rows) == _BATCH:
                yield _frame(rows, columns)
                rows = []
        yield _frame(rows, columns)

    return streamed_table(file, schema, frames)


def _frame(rows: list[dict[str, str]], columns: list[str]) -> pl.DataFrame:
    return pl.DataFrame({name: pl.Series([row.get(name) for row in rows], dtype=pl.String) for name in columns})


def _rows(file: Path, chunk_bytes: int) -> Iterator[dict[str, str]]:
    reader = _FeedReader(file)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    # Entities that are made of entities grow without bound; feeds have no use for any.
    parser.EntityDeclHandler = reader.refuse_entity
    try:
        for chunk in byte_chunks(file, chunk_bytes):
            parser.Parse(chunk)
            yield from reader.take()
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        problem = f"not XML: {expat.ErrorString(error.code)} at line {error.lineno}, column {error.offset + 1}"
        raise InvalidData(problem, file=file, row=reader.row) from None
    yield from reader.take()


@dataclass
class _Element:
    namespace: str
    name: str
    href: str | None
    texts: list[str] = field(default_factory=list)
    fields: _Fields = field(default_factory=dict)

    def value(self) -> Any:
        text = "".join(self.texts).strip()
        if self.fields:
            return {name: _single(values) for name, values in self.fields.items()}
        return text or self.href


class _FeedReader:
    """Collects rows from what the parser meets."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._open: list[_Element] = []  # the row that is read, and the elements within it
        self._size = 0
        self._rows: list[dict[str, str]] = []
        self._done = 0

    @property
    def row(self) -> int | None:
        """The 1-based number of the row that is read; None between two."""
        return self._done + 1 if self._open else None

    def take(self) -> list[dict[str, str]]:
        """The rows since the last call."""
        rows, self._rows = self._rows, []
        return rows

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        namespace, _, name = tag.rpartition(" ")
        if self._open or name in _ROWS:
            element = _Element(namespace, name, attributes.get("href"))
            if not self._open:  # some feeds have the id there
                element.fields = {name: [(namespace, value)] for name, value in attributes.items() if " " not in name}
            self._open.append(element)
            self._grow(len(tag))

    def text(self, text: str) -> None:
        if self._open:
            self._open[-1].texts.append(text)
            self._grow(len(text))

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > MAX_RECORD_BYTES or len(self._open) > _MAX_DEPTH:
            problem = (
                f"an element of more than {MAX_RECORD_BYTES >> 20} MB, or more than {_MAX_DEPTH} within each other"
            )
            raise InvalidData(problem, file=self._file, row=self.row)

    def end(self, tag: str) -> None:
        if not self._open:
            return
        element = self._open.pop()
        if self._open:
            self._open[-1].fields.setdefault(element.name, []).append((element.namespace, element.value()))
        else:
            row = {name: _single(values) for name, values in element.fields.items()}
            self._rows.append({name: _as_text(value) for name, value in row.items() if value is not None})
            self._size = 0
            self._done += 1

    def refuse_entity(self, name: str, *_: Any) -> None:
        raise InvalidData(f"declares the entity {name!r}; expected XML without entities of its own", file=self._file)


def _single(values: list[tuple[str, Any]]) -> Any:
    """The value of an element, or the values of one that is repeated."""
    if len({namespace for namespace, _ in values}) > 1:
        values = [(namespace, value) for namespace, value in values if namespace == _GOOGLE] or values
    return values[0][1] if len(values) == 1 else [value for _, value in values]


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
