"""Events of any log through a mapping."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ubm_embed.data.logs.event_table import EVENT_SCHEMA, INVALID, OTHER_EVENT, event_columns
from ubm_embed.data.logs.event_table import attribute_pairs as name_value_pairs
from ubm_embed.data.mappings.checks import require_fitting, strict_values, unseen_paths
from ubm_embed.data.mappings.column import ColumnType
from ubm_embed.data.mappings.conditions import drop_reason
from ubm_embed.data.mappings.held_paths import without_key
from ubm_embed.data.mappings.mapped_catalogue import attribute_pairs
from ubm_embed.data.mappings.mapped_rows import ROW, UNREADABLE, MappedRows, map_rows, missing_column
from ubm_embed.data.mappings.mapping import OUR_ACTIONS, LogMapping, Mapping
from ubm_embed.data.mappings.values import Values, column_values
from ubm_embed.data.tables.table_files import collect_tables
from ubm_embed.errors import InvalidData

NO_ACTION = "no action"
# A value that does not fit is null and counted as lost. Times and prices are counted for logs of all kinds.
_COUNTED = EVENT_SCHEMA.keys() - {"timestamp", "price", "action"}
_TYPES = {"timestamp": ColumnType.TIME, "position": ColumnType.INTEGER, "price": ColumnType.PRICE}


@dataclass(frozen=True)
class MappedLog:
    """Events of some files, not read yet.

    Attributes:
        events: raw events (`EVENT_SCHEMA`) of each of `files`; `dropped` is `INVALID` where its check raises.
        checks: for each of `files`, reads it and raises InvalidData for the first value that does not fit.
        catalogues: files that the mapping reads as products.
        left_out: files that no part of it names.
    """

    files: tuple[Path, ...]
    events: tuple[pl.LazyFrame, ...]
    checks: tuple[Callable[[], None], ...]
    catalogues: tuple[Path, ...]
    left_out: tuple[Path, ...]


def mapped_log(files: Iterable[Path], mapping: Mapping) -> MappedLog:
    """The events of files through a mapping.

    Raises:
        NotFound: no such file, or none beside it that is to be joined.
        InvalidData: not readable; a column that a file lacks, or, of JSON, all of them; no file of events.
    """
    files = list(files)
    catalogues = [file for file in files if mapping.names_catalogue(file)]
    parts = [(file, part) for file in files if (part := mapping.log_of(file)) is not None]
    read = [file for file, _ in parts]
    if not parts:
        patterns = ", ".join(pattern for part in mapping.log for pattern in part.files)
        expected = f"a file named {patterns}" if patterns else "--catalogue for it: the mapping has no [log]"
        raise InvalidData(f"the mapping reads no events of it; expected {expected}", file=files[0] if files else None)
    events, checks, unseen = [], [], []
    for file, part in parts:
        rows = map_rows(file, part)
        frame, check = _events(rows, part)
        events.append(frame)
        checks.append(check)
        unseen.append((rows, part, unseen_paths(rows)))
    _require_seen(unseen)
    left_out = tuple(file for file in files if not (file in read or file in catalogues or mapping.joins(file)))
    return MappedLog(tuple(read), tuple(events), tuple(checks), tuple(catalogues), left_out)


def _events(rows: MappedRows, part: LogMapping) -> tuple[pl.LazyFrame, Callable[[], None]]:
    """The events of one file, and what raises for a value that does not fit."""
    columns = part.our_columns()
    values = {
        name: column_values(name, column, rows.locations, part.time, _TYPES.get(name))
        for name, column in columns.items()
    }
    dropped = _dropped(part, rows, values["action"].text)
    used = dropped.is_null() & pl.col(UNREADABLE).is_null()
    invalid = used & pl.any_horizontal(False, *(value.misfit for value in strict_values(columns, values).values()))
    if part.other_actions == "error":
        invalid |= (dropped == OTHER_EVENT).fill_null(False)
    marked = pl.when(invalid).then(pl.lit(INVALID)).otherwise(dropped)

    def check() -> None:
        require_fitting(rows, columns, values, used)
        if part.other_actions == "error":
            _require_known(part, rows, values["action"].text)

    return rows.frame.select(_columns(part, values, marked)), check


def _columns(part: LogMapping, values: dict[str, Values], dropped: pl.Expr) -> list[pl.Expr]:
    # A price is parsed, and counted if it is none, where all events are cleaned.
    columns = {
        name: value.text if name == "price" else value.typed for name, value in values.items() if name in EVENT_SCHEMA
    }
    if "timestamp" in values:
        columns["unread_timestamp"] = pl.when(values["timestamp"].misfit).then(values["timestamp"].text)
    unread = {
        name: pl.when(value.misfit).then(value.text)
        for name, value in values.items()
        if name in _COUNTED and part.our_columns()[name].invalid == "null"
    }
    if unread:
        pairs = name_value_pairs(**unread)
        columns["unread"] = pl.when(pairs.list.len() > 0).then(pairs)
    columns["action"] = _action(part, values["action"].text)
    columns["attributes"] = attribute_pairs(values)
    # The report shows which action it is.
    unknown = pl.when(dropped == OTHER_EVENT).then(values["action"].text)
    problem = pl.coalesce(UNREADABLE, unknown)
    return event_columns(**columns, row=pl.col(ROW), problem=problem, dropped=dropped)


def _action(part: LogMapping, theirs: pl.Expr) -> pl.Expr:
    if not part.actions:
        return pl.when(theirs.is_in(OUR_ACTIONS)).then(theirs)
    ours = {name: action for name, action in part.actions.items() if action != "drop"}
    return theirs.replace_strict(ours, default=None, return_dtype=pl.String)


def _dropped(part: LogMapping, rows: MappedRows, theirs: pl.Expr) -> pl.Expr:
    listed = [name for name, action in part.actions.items() if action == "drop"]
    condition = drop_reason(part.drop, rows.locations)
    return (
        pl.when(pl.col(UNREADABLE).is_not_null())  # counted as such
        .then(pl.lit(None, pl.String))
        .when(condition.is_not_null())
        .then(condition)
        .when(theirs.is_null())
        .then(pl.lit(NO_ACTION))
        .when(theirs.is_in(listed))
        .then(pl.format("action {}", theirs))
        .when(_action(part, theirs).is_null())
        .then(pl.lit(OTHER_EVENT))
    )


def _require_known(part: LogMapping, rows: MappedRows, theirs: pl.Expr) -> None:
    other = rows.frame.filter(_dropped(part, rows, theirs) == OTHER_EVENT).select(ROW, theirs.alias("action")).head(1)
    (first,) = collect_tables([other], [rows.file])
    if not first.is_empty():
        row, action = first.row(0)
        expected = ", ".join(part.actions or OUR_ACTIONS)
        field = " ".join(part.columns.action.paths) or "action"
        raise InvalidData(f"expected one of {expected}, got {action!r}", file=rows.file, row=row, field=field)


def _require_seen(unseen: list[tuple[MappedRows, LogMapping, frozenset[str]]]) -> None:
    """Raise for a path that no file has of those that a part reads."""
    by_part: dict[int, list[tuple[MappedRows, LogMapping, frozenset[str]]]] = {}
    for one in unseen:
        by_part.setdefault(id(one[1]), []).append(one)
    for files in by_part.values():
        rows, part, _ = files[0]
        if part.lacks(frozenset.intersection(*(paths for _, _, paths in files))) is None:
            continue
        unheld = [without_key(rows, part, paths) for rows, part, paths in files]
        lacking = part.lacks(frozenset.intersection(*unheld))
        if lacking is not None:
            raise missing_column(lacking, rows.columns, rows.file if len(files) == 1 else None, part, "no row has it")
