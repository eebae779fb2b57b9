"""A shop's event log, in one of three formats, as one lazy table of events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ubm_embed.data.corpus import INTERACTIONS_FILE, PRODUCTS_FILE
from ubm_embed.data.logs.event_kind import EventKind
from ubm_embed.data.logs.event_table import EVENT_SCHEMA, mark_dropped
from ubm_embed.data.logs.ga4 import GA4_SCHEMA, ga4_events
from ubm_embed.data.logs.mapped import mapped_log
from ubm_embed.data.logs.native import native_events, native_log
from ubm_embed.data.logs.segment import SEGMENT_SCHEMA, drop_duplicates, segment_events
from ubm_embed.data.mappings.mapping import Mapping
from ubm_embed.data.products import read_catalogue
from ubm_embed.data.tables.table_files import collect_tables, scan_table, table_files, table_kind
from ubm_embed.errors import InvalidData

# The events of a file are numbered below this, so that those of several files stay apart and in order.
_EVENTS_A_FILE = 1 << 40


@dataclass(frozen=True)
class Events:
    """Events that are not read yet, and the catalogues beside them.

    Attributes:
        frame: `EVENT_SCHEMA` and `order`, the position in the log. A row with `dropped` set does not count.
        products: catalogues of the sources that are corpus folders.
        files: those that `frame` is read from.
    """

    frame: pl.LazyFrame
    products: tuple[pl.DataFrame, ...]
    files: tuple[Path, ...]


def read_events(sources: Sequence[str | Path], kind: EventKind | Mapping | str) -> Events:
    """Events of files, folders of files, and (native) corpus folders, in the order given.

    Args:
        kind: the form of the log, or a mapping that says how its columns become events.

    Raises:
        NotFound: no such source.
        InvalidData: not readable, a column missing, and in a native log an unknown action.
    """
    if isinstance(kind, Mapping):
        return _mapped_events(sources, kind)
    kind = EventKind(kind)
    folders = [Path(source) for source in sources if kind is EventKind.NATIVE and _is_corpus(Path(source))]
    files = [file for source in sources for file in _files(Path(source), folders)]
    events = pl.concat([_scan(file, kind, number) for number, file in enumerate(files)])
    if kind is EventKind.SEGMENT:
        events = drop_duplicates(events)
    products = tuple(read_catalogue(folder / PRODUCTS_FILE) for folder in folders)
    ordered = mark_dropped(events).select(*EVENT_SCHEMA).cast({"price": pl.Float64}, strict=False)
    return Events(ordered.with_row_index("order"), products, tuple(files))


def _mapped_events(sources: Sequence[str | Path], mapping: Mapping) -> Events:
    log = mapped_log([file for source in sources for file in table_files(source)], mapping)
    ordered = mark_dropped(pl.concat(log.events)).select(*EVENT_SCHEMA).cast({"price": pl.Float64}, strict=False)
    return Events(ordered.with_row_index("order"), (), log.files)


def _is_corpus(folder: Path) -> bool:
    return (folder / PRODUCTS_FILE).is_file() and (folder / INTERACTIONS_FILE).is_file()


def _files(source: Path, folders: list[Path]) -> list[Path]:
    return [source / INTERACTIONS_FILE] if source in folders else table_files(source)


def _scan(file: Path, kind: EventKind, number: int) -> pl.LazyFrame:
    if kind is EventKind.NATIVE:
        return native_events(native_log(file), file)
    if table_kind(file) == "CSV":
        raise InvalidData(
            f"CSV cannot hold the nested fields of {kind}; expected Parquet, JSON or JSON Lines", file=file
        )
    if kind is EventKind.GA4:
        return ga4_events(_of_kind(file, GA4_SCHEMA, "event_name", kind))
    log = _of_kind(file, SEGMENT_SCHEMA, "event", kind)
    return segment_events(log, first_event=number * _EVENTS_A_FILE)


def _of_kind(file: Path, schema: dict[str, pl.DataType], name: str, kind: EventKind) -> pl.LazyFrame:
    """The file's rows, of which at least one must name its event: if none does, it is a log of another format."""
    log = scan_table(file, schema=schema)
    if name in log.collect_schema():
        (first,) = collect_tables([log.select(name).filter(pl.col(name).is_not_null()).head(1)], [file])
        if not first.is_empty():
            return log
    raise InvalidData(f"no row names its event; expected a log of {kind}", file=file, field=name)
