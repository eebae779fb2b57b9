"""A shop's event log, in one of many forms, as one lazy table of raw events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from ubm_embed.data.corpus import INTERACTIONS_FILE, PRODUCTS_FILE
from ubm_embed.data.logs.cleaning import mark_unclean
from ubm_embed.data.logs.event_kind import EventKind
from ubm_embed.data.logs.event_table import EVENT_SCHEMA, INVALID, mark_dropped
from ubm_embed.data.logs.mapped import mapped_log
from ubm_embed.data.logs.native import require_valid
from ubm_embed.data.logs.readers import READERS, catalogue_mapping, is_beside
from ubm_embed.data.mappings.mapping import Mapping
from ubm_embed.data.products import CatalogueFile
from ubm_embed.data.tables.table_files import find_files
from ubm_embed.errors import InvalidData


@dataclass(frozen=True)
class Events:
    """Events that are not read yet, and the catalogues beside them.

    Attributes:
        frame: `EVENT_SCHEMA`, `unclean` (see `mark_unclean`), `file` (an index of `files`) and `order`, the position in
            the log. A row with `dropped` set does not count.
        catalogues: of sources that are corpus folders, or files that a mapping reads as products; not read yet.
        files: those that `frame` is read from.
        checks: for each of `files`, raises for what is wrong in it; see `require_valid`.
        left_out: why files among the sources are not read, by their paths.
    """

    frame: pl.LazyFrame
    catalogues: tuple[CatalogueFile, ...]
    files: tuple[Path, ...]
    checks: tuple[Callable[[], None], ...]
    left_out: dict[str, str]

    def require_valid(self, read: pl.LazyFrame) -> None:
        """Look again at each file in which a row is invalid or none is of use, for what is wrong in it.

        Args:
            read: `frame` once it is read, so that a log that is right is read only once.

        Raises:
            InvalidData: an invalid value or a missing column; names file, row and field.
        """
        dropped = pl.col("dropped")
        wrong = (dropped.is_null().sum() == 0) | (dropped == INVALID).any()
        by_file = dict(read.group_by("file").agg(wrong.alias("wrong")).collect(engine="streaming").iter_rows())
        for number, check in enumerate(self.checks):
            if by_file.get(number, True):
                check()


def read_events(sources: Sequence[str | Path], kind: EventKind | Mapping | str) -> Events:
    """Events of files, folders of files, and (native) corpus folders, in the order given.

    Args:
        kind: the form of the log, or how its columns become events.

    Raises:
        NotFound: no such source.
        InvalidData: not readable, or a column missing.
    """
    if isinstance(kind, Mapping):
        mixed = find_files(sources, mixed=True)
        log = mapped_log(mixed.files, kind)
        catalogues = _catalogues(log.catalogues, kind)
        return Events(_marked(log.events), catalogues, log.files, log.checks, mixed.left_out)
    kind = EventKind(kind)
    folders = [Path(source) for source in sources if kind is EventKind.NATIVE and _is_corpus(Path(source))]
    found = find_files(_log_of(Path(source), folders) for source in sources)
    logs = [file for file in found.files if not is_beside(file, kind)]
    mappings = {file: name for file in logs if (name := catalogue_mapping(file, kind))}
    files = tuple(file for file in logs if file not in mappings)
    if not files:
        raise InvalidData("no file with events", file=sources[0])
    catalogues = tuple(CatalogueFile(folder / PRODUCTS_FILE) for folder in folders)
    catalogues += tuple(CatalogueFile(file, Mapping.open(name)) for file, name in mappings.items())
    checks = tuple(partial(require_valid, file) for file in files) if kind is EventKind.NATIVE else ()
    return Events(_marked([READERS[kind](file) for file in files]), catalogues, files, checks, found.left_out)


def _is_corpus(folder: Path) -> bool:
    return (folder / PRODUCTS_FILE).is_file() and (folder / INTERACTIONS_FILE).is_file()


def _log_of(source: Path, folders: list[Path]) -> Path:
    return source / INTERACTIONS_FILE if source in folders else source


def _catalogues(files: Sequence[Path], mapping: Mapping) -> tuple[CatalogueFile, ...]:
    """One for each file; the files of a history of changes are one, since the latest row counts of all of them."""
    histories: dict[int, list[Path]] = {}
    for number, file in enumerate(files):
        part = mapping.catalogue_of(file)
        history = part is not None and part.latest is not None
        histories.setdefault(mapping.catalogue.index(part) if history else -1 - number, []).append(file)
    return tuple(CatalogueFile(chosen[0], mapping, tuple(chosen)) for chosen in histories.values())


def _marked(frames: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """`Events.frame` of the raw events of some files."""
    numbered = [
        frame.select(*EVENT_SCHEMA, pl.lit(number, pl.UInt32).alias("file")) for number, frame in enumerate(frames)
    ]
    return mark_dropped(mark_unclean(pl.concat(numbered))).with_row_index("order")
