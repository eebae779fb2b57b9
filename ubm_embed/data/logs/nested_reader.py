"""Reads logs whose rows are records with records in them, as they are or as other programs hand them on.

Warehouses may write the names of columns in capitals (Snowflake). What moves events from one place to another puts each
into a column of its own: Airbyte `_airbyte_data`, Kafka's tools `value` or `payload`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ubm_embed.data.logs.event_kind import EventKind
from ubm_embed.data.logs.event_table import PROBLEM, ROW
from ubm_embed.data.logs.nested import decode_nested
from ubm_embed.data.tables.formats import CsvFormat
from ubm_embed.data.tables.table_files import collect_tables, scan_table
from ubm_embed.errors import InvalidData

_ENVELOPES = ("_airbyte_data", "value", "payload")
_SHOWN_NAMES = 12  # in a message


@dataclass(frozen=True)
class NestedReader:
    """Reads a log whose rows are records with records in them.

    Attributes:
        kind: the form of the log.
        schema: of its rows: how JSON is read, also where a cell of another format holds it as text.
        event: the column that says which event a row is, or that any event has.
        events: from rows in `schema`, as far as the file has them, with `ROW` and `PROBLEM`, to raw events.
        times: columns of which a row must have one, or the log has no times; none if they are inside records.
        csv: how a file of separated texts is written.
    """

    kind: EventKind
    schema: Mapping[str, pl.DataType]
    event: str
    events: Callable[[pl.LazyFrame], pl.LazyFrame]
    times: Sequence[str] = ()
    csv: Callable[[Path], CsvFormat | None] | None = None

    def __call__(self, file: Path) -> pl.LazyFrame:
        """The raw events of a file.

        Raises:
            NotFound: no such file.
            InvalidData: not readable; no row names its event, as in a log of another form; or none has a time.
        """
        logs = [decode_nested(self._scan(file, self.schema), self.schema)]
        if not _has_any(logs[0], [self.event], file):
            found = self._columns(file, logs[0])
            logs = [log for log in self._as_others_write(file, found) if _has_any(log, [self.event], file)]
            if not logs:
                problem = f"no row names its event; expected a log of {self.kind}; {_found(found)}"
                raise InvalidData(problem, file=file, field=self.event)
        if self.times and not _has_any(logs[0], self.times, file):
            problem = f"no row has a time; expected {' or '.join(self.times)}; {_found(self._columns(file, logs[0]))}"
            raise InvalidData(problem, file=file, field=self.times[0])
        return self.events(logs[0])

    def _columns(self, file: Path, log: pl.LazyFrame) -> list[str]:
        """The names of a file's own columns.

        Raises:
            InvalidData: it has none, since no row is an object.
        """
        try:
            names = self._scan(file, None).collect_schema().names()
        except InvalidData:
            odd = log.select(ROW, PROBLEM).filter(pl.col(PROBLEM).is_not_null()).head(1)
            for row, problem in collect_tables([odd], [file])[0].iter_rows():
                raise InvalidData(problem, file=file, row=row) from None
            raise
        return [name for name in names if name not in (ROW, PROBLEM)]

    def _scan(self, file: Path, schema: Mapping[str, pl.DataType] | None) -> pl.LazyFrame:
        csv = self.csv(file) if self.csv else None
        return scan_table(file, schema=schema, csv=csv, row=ROW, problem=PROBLEM)

    def _as_others_write(self, file: Path, found: Sequence[str]) -> Iterator[pl.LazyFrame]:
        """The rows with the columns `found` under our names, and those inside each envelope among them."""
        theirs = {name.lower(): name for name in found}
        named = {ours: theirs[ours.lower()] for ours in self.schema if ours.lower() in theirs}
        if named:
            log = self._scan(file, {name: self.schema[ours] for ours, name in named.items()})
            renamed = log.select(ROW, PROBLEM, *(pl.col(name).alias(ours) for ours, name in named.items()))
            yield decode_nested(renamed, self.schema)
        for envelope in filter(None, map(theirs.get, _ENVELOPES)):
            around = {envelope: pl.Struct(self.schema)}
            log = decode_nested(self._scan(file, around), around)
            if isinstance(log.collect_schema()[envelope], pl.Struct):
                yield decode_nested(log.select(ROW, PROBLEM, envelope).unnest(envelope), self.schema)


def _has_any(log: pl.LazyFrame, columns: Sequence[str], file: Path) -> bool:
    """Whether a row has a value in one of the columns."""
    there = [name for name in columns if name in log.collect_schema()]
    if not there:
        return False
    filled = log.select(there).filter(pl.any_horizontal(pl.col(name).is_not_null() for name in there)).head(1)
    return not collect_tables([filled], [file])[0].is_empty()


def _found(columns: Sequence[str]) -> str:
    """The names of columns, for a message."""
    more = f" and {len(columns) - _SHOWN_NAMES} more" if len(columns) > _SHOWN_NAMES else ""
    return f"found {', '.join(columns[:_SHOWN_NAMES])}{more}"
