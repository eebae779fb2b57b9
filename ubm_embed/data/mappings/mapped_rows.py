"""The rows of a file as a mapping sees them: joined, one for each entry of a list, with its paths found."""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from ubm_embed.data.mappings.joined_files import join_files
from ubm_embed.data.mappings.json_schema import record_schema
from ubm_embed.data.mappings.json_text import PROBLEM, decode_lists, decode_records, record_type
from ubm_embed.data.mappings.mapping import CatalogueMapping, LogMapping
from ubm_embed.data.mappings.paths import Location, first_column, instance, locate
from ubm_embed.data.tables.table_files import scan_table
from ubm_embed.data.tables.table_kinds import holds_elements, table_kind
from ubm_embed.data.tables.text_stream import BrokenTextError, utf8_chunks
from ubm_embed.errors import InvalidData

# No file has columns with these names.
ROW, UNREADABLE, _ENTRY, _DECODED = "\0row", "\0problem", "\0entry", "\0decoded"
_SAMPLE_LINES = 1000
_NAMED_COLUMNS = 30


@dataclass(frozen=True)
class MappedRows:
    """Rows that are not read yet.

    Attributes:
        frame: has the columns `ROW`, the 1-based row in the file, and `UNREADABLE`, what of it could not be read.
        locations: where each path of the mapping leads in `frame`; None for an optional one that the file lacks.
        unsure: required paths in JSON, of which only the rows can tell whether the file has them.
        columns: the names of the file's columns, as far as they are known.
        has_json: whether some of it is JSON, so that a row may be unreadable.
        in_lines: whether it is JSON of which only the columns that are read are in `frame`.
    """

    file: Path
    frame: pl.LazyFrame
    locations: Mapping[str, Location | None]
    unsure: frozenset[str]
    columns: tuple[str, ...]
    has_json: bool
    in_lines: bool


def map_rows(file: Path, part: LogMapping | CatalogueMapping) -> MappedRows:
    """The rows of one file.

    Raises:
        NotFound: no such file, or none beside it that is to be joined.
        InvalidData: not readable, or a column that is not there and not optional; names it and those that are there.
    """
    frame = _filled(join_files(_scan(file, part), part.join, file), part, file)
    columns = dict(frame.collect_schema())
    # Of JSON only the columns that are read are in the frame, whether the file has them or not.
    in_lines = table_kind(file) in ("JSON", "JSON Lines") and not _reads_all(file, part)
    keys = dict.fromkeys(key for row in _first_rows(file) for key in row) if in_lines else {}
    names = tuple(keys if in_lines else (name for name in columns if not name.startswith("\0")))
    each, paths = part.each.path if part.each else None, part.paths()
    below = {path for path in paths if each is not None and (path == each or path.startswith(f"{each}."))}
    whole = [*(path for path in paths if path not in below), *([each] if each is not None else [])]
    frame, found = _decode(frame, {path: locate(path, columns) for path in whole})
    if each is not None:
        list_ = found[each]
        frame = _entries(frame, list_, each, file)
        entry = {_ENTRY: instance(frame.collect_schema()[_ENTRY])}
        frame, entries = _decode(frame, {path: locate(_ENTRY + path[len(each) :], entry) for path in below})
        found |= entries
        found[each] = replace(list_, value=pl.col(_ENTRY), dtype=entry[_ENTRY]) if list_ else None
    lacking = part.lacks([path for path, location in found.items() if location is None])
    if lacking is not None:
        raise missing_column(lacking, names, file, part)
    # Whether JSON has a column, only its rows tell.
    is_json = table_kind(file).startswith("JSON")
    required = {path for paths in part.alternatives() for path in paths}
    unsure = frozenset(
        path for path, location in found.items() if path in required and location and (is_json or location.decoded)
    )
    has_json = is_json or each is not None or any(location.decoded for location in found.values() if location)
    return MappedRows(file, frame, found, unsure, names, has_json, in_lines)


def missing_column(
    path: str,
    columns: Iterable[str],
    file: Path | None,
    part: LogMapping | CatalogueMapping,
    problem: str = "missing column",
) -> InvalidData:
    """The error for a path that leads nowhere."""
    names = list(columns)
    others = [name for name in names if name != path]
    close = difflib.get_close_matches(path, others[:1000], 1) or [
        name for name in others if name.lower() == path.lower()
    ]
    guess = f"; did you mean {close[0]!r}?" if close else ""
    more = f" and {len(names) - _NAMED_COLUMNS} more" if len(names) > _NAMED_COLUMNS else ""
    found = ", ".join(names[:_NAMED_COLUMNS]) + more
    advice = "if files may lack it, say optional = true in the mapping"
    if part.ready_made is not None:
        advice = f"{part.ready_made} reads no files without it, and `ingest --guess` names what does"
    problem = f"{problem}{guess}; found {found}; {advice}"
    return InvalidData(problem, file=file, field=path)


def _scan(file: Path, part: LogMapping | CatalogueMapping) -> pl.LazyFrame:
    schema = _json_schema(file, part) if table_kind(file) in ("JSON", "JSON Lines") else None
    texts = [name for name, dtype in (schema or {}).items() if dtype == pl.String]
    frame = scan_table(file, schema=schema, csv=part.csv, row=ROW, problem=UNREADABLE, json_text=texts)
    return _in_lower_case(frame, file) if part.ignore_case else frame


def _in_lower_case(frame: pl.LazyFrame, file: Path) -> pl.LazyFrame:
    names: dict[str, str] = {}
    for name in frame.collect_schema().names():
        if names.setdefault(name.lower(), name) != name:
            problem = f"differs from {names[name.lower()]!r} only in case, which the mapping ignores"
            raise InvalidData(problem, file=file, field=name)
    return frame.rename({name: lower for lower, name in names.items()})


def _filled(frame: pl.LazyFrame, part: LogMapping | CatalogueMapping, file: Path) -> pl.LazyFrame:
    fill = part.fill
    if fill is None:
        return frame
    schema = frame.collect_schema()
    if fill.by not in schema:
        raise missing_column(fill.by, [name for name in schema if not name.startswith("\0")], file, part)
    columns = [pl.col(name) for name in fill.columns if name in schema]
    # Text files have no nulls of their own.
    values = [pl.when(column.cast(pl.String).str.strip_chars() != "").then(column) for column in columns]
    return frame.with_columns(value.forward_fill().over(fill.by) for value in values)


def _json_schema(file: Path, part: LogMapping | CatalogueMapping) -> dict[str, pl.DataType]:
    """The columns that the mapping reads, or all of them.

    Where the first rows do not agree on their form, objects and lists are read as their text, which is decoded with the
    paths that lead into them.
    """
    if _reads_all(file, part):
        return dict.fromkeys(scan_table(file).collect_schema().names(), pl.String())
    rows = _first_rows(file)
    keys = {key.lower() if part.ignore_case else key: key for row in rows for key in row}
    list_ = part.each.path if part.each else None
    wanted = [*part.paths(), *([list_] if list_ else []), *(join.on for join in part.join)]
    if part.fill:
        wanted += [part.fill.by, *part.fill.columns]
    below: dict[str, dict[str, tuple[str, ...]]] = {}
    for path in wanted:
        name = first_column(path, keys)
        rest = path[len(name) + 1 :]
        below.setdefault(name, {})[path] = tuple(rest.split(".")) if rest else ()
    schema: dict[str, pl.DataType] = {}
    for name, names in below.items():
        each = names.pop(list_, None) if list_ else None
        dtype = None if part.ignore_case else record_schema([row.get(name) for row in rows], list(names.values()), each)
        schema[keys.get(name, name)] = dtype or pl.String()
    return schema


def _reads_all(file: Path, part: LogMapping | CatalogueMapping) -> bool:
    """Whether all columns of a JSON file are read: those of elements are known without reading it again."""
    return (isinstance(part, CatalogueMapping) and part.keep_others) or (
        table_kind(file) == "JSON" and holds_elements(file)
    )


def _first_rows(file: Path) -> list[dict[str, Any]]:
    """Objects of the first lines; malformed ones are for the reader to report."""
    rows = []
    with contextlib.suppress(BrokenTextError):
        for line in islice(next(utf8_chunks(file), b"").split(b"\n"), _SAMPLE_LINES):
            with contextlib.suppress(ValueError, RecursionError):
                row = json.loads(line)
                rows += [row] if isinstance(row, dict) else []
    return rows


def _entries(frame: pl.LazyFrame, list_: Location | None, path: str, file: Path) -> pl.LazyFrame:
    """One row for each entry of a list, in the column `_ENTRY`; one row where there is none, or no list."""
    if list_ is None:
        return frame.with_columns(pl.lit(None, pl.String).alias(_ENTRY))
    if list_.dtype == pl.String:
        entries = list_.value.map_batches(decode_lists, return_dtype=pl.List(pl.String), is_elementwise=True)
    elif isinstance(list_.dtype, pl.List | pl.Array):
        entries = list_.value if isinstance(list_.dtype, pl.List) else list_.value.arr.to_list()
    else:
        raise InvalidData(f"expected a list, found {list_.dtype}", file=file, field=path)
    # `explode` would drop the row of an empty list.
    return frame.with_columns(pl.when(entries.list.len() > 0).then(entries).alias(_ENTRY)).explode(_ENTRY)


def _decode(
    frame: pl.LazyFrame, locations: Mapping[str, Location | None]
) -> tuple[pl.LazyFrame, dict[str, Location | None]]:
    """`frame` with columns of what paths lead to inside JSON text, each text decoded once, and the new locations."""
    inside: dict[str, dict[str, Location]] = {}
    for path, location in locations.items():
        if location and location.inside:
            inside.setdefault(path.removesuffix("." + ".".join(location.inside)), {})[path] = location
    new = dict(locations)
    number = sum(name.startswith(_DECODED) for name in frame.collect_schema().names()) if inside else 0
    for text, within in inside.items():
        names = [location.inside for location in within.values()]
        value = next(iter(within.values())).value
        decode = partial(decode_records, paths=names)
        column = f"{_DECODED}{number}"
        number += 1
        frame = frame.with_columns(
            value.map_batches(decode, return_dtype=record_type(names), is_elementwise=True).alias(column)
        ).with_columns(_with_problem(text, pl.col(column).struct.field(PROBLEM)))
        for index, path in enumerate(within):
            new[path] = Location(pl.col(column).struct.field(str(index)), pl.String(), decoded=True)
    return frame, new


def _with_problem(field: str, problem: pl.Expr) -> pl.Expr:
    told = pl.when(problem.is_not_null()).then(pl.format("field {}: {}", pl.lit(field), problem))
    return pl.coalesce(UNREADABLE, told).alias(UNREADABLE)
