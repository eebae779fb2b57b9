"""The columns of a sample, those inside records and JSON text too, with their values as text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ubm_embed.data.mappings.column import MAX_NAMES
from ubm_embed.data.mappings.json_text import KEYS, as_text, loads
from ubm_embed.data.tables.formats import CsvFormat
from ubm_embed.data.tables.table_files import collect_tables, scan_table, table_kind

_MAX_COLUMNS = 1000
_MAX_ENTRIES = 20_000  # of all lists together


@dataclass(frozen=True)
class SampledColumn:
    """One column.

    Attributes:
        path: as a mapping names it.
        each: the path of the list that it is in, if it is in one.
        values: those that are not empty.
    """

    path: str
    each: str | None
    values: list[str] = field(default_factory=list)

    @property
    def distinct(self) -> int:
        """How many different values it has."""
        return len(set(self.values))


@dataclass(frozen=True)
class Sample:
    """The rows of a sample.

    Attributes:
        names: the columns of the table itself.
        columns: every column with a value, by path.
        header: the columns of the table itself that all its files have; none of JSON.
    """

    file: Path
    rows: int
    names: tuple[str, ...]
    columns: dict[str, SampledColumn]
    header: tuple[str, ...]


def read_sample(file: Path, csv: CsvFormat) -> Sample:
    """The columns of a small file.

    Raises:
        InvalidData: not readable.
    """
    frame = scan_table(file, csv=csv)
    (table,) = collect_tables([frame], [file])
    walk = _Walk()
    for row in table.iter_rows(named=True):
        for name, value in row.items():
            walk.add(name, _decoded(value), None)
    names = tuple(table.columns)
    return Sample(file, table.height, names, walk.columns, () if table_kind(file).startswith("JSON") else names)


class _Walk:
    """Columns that are collected value by value."""

    def __init__(self) -> None:
        self.columns: dict[str, SampledColumn] = {}
        self._entries = 0

    def add(self, path: str, value: Any, each: str | None) -> None:
        if path.count(".") >= MAX_NAMES or len(path) > 500:
            return
        if isinstance(value, dict):
            for name, inner in value.items():
                self.add(f"{path}.{name}", _decoded(inner), each)
        elif isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
            self._add_entries(path, value, each)
        elif isinstance(value, list):
            if not any(isinstance(entry, dict | list) for entry in value):
                self._put(path, " > ".join(filter(None, map(_text, value))), each)
        else:
            self._put(path, _text(value), each)

    def _add_entries(self, path: str, entries: list[dict[str, Any]], each: str | None) -> None:
        key = next((key for key in KEYS if all({key, "value"} <= entry.keys() for entry in entries)), None)
        for entry in entries:
            if key is not None:
                self.add(f"{path}.{entry[key]}", _decoded(entry["value"]), each)
            elif each is None and self._entries < _MAX_ENTRIES:  # a mapping takes one list apart, not lists in lists
                self._entries += 1
                self.add(path, entry, path)

    def _put(self, path: str, text: str | None, each: str | None) -> None:
        if text is None or not text.strip() or (path not in self.columns and len(self.columns) >= _MAX_COLUMNS):
            return
        self.columns.setdefault(path, SampledColumn(path, each)).values.append(text.strip())


def _decoded(value: Any) -> Any:
    """JSON text as what it holds."""
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
        return value
    try:
        return loads(value)
    except ValueError:
        return value


def _text(value: Any) -> str | None:
    return as_text(value) if value is None or isinstance(value, str | bool | int | float) else str(value)


def lists_of(columns: Iterable[SampledColumn]) -> list[str]:
    """The lists that some columns are in."""
    return list(dict.fromkeys(column.each for column in columns if column.each is not None))
