"""What a mapping makes of some files, without writing a corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from ubm_embed.data.logs.cleaning import cleaned
from ubm_embed.data.logs.event_kind import EventKind
from ubm_embed.data.logs.events import read_events
from ubm_embed.data.logs.report import Tally
from ubm_embed.data.mappings.mapped_catalogue import mapped_catalogue
from ubm_embed.data.mappings.mapping import Mapping
from ubm_embed.data.products import CatalogueFile
from ubm_embed.data.tables.table_files import collect_tables
from ubm_embed.errors import InvalidData, NotFound


@dataclass(frozen=True)
class Trial:
    """How the rows of some files were read.

    Attributes:
        actions: events by action.
        dropped: events that do not count, by reason.
        lost: values that could not be read, by field.
        without_text: how many of `actions` are of products whose texts no event and no catalogue has.
        products: rows of catalogues, with an id.
        problems: why a file was not read.
    """

    actions: dict[str, int]
    dropped: dict[str, int]
    lost: dict[str, int]
    without_text: int
    products: int
    problems: tuple[str, ...]


def try_mapping(files: Sequence[Path], mapping: Mapping) -> Trial:
    """Read small files through a mapping."""
    logs, tally, problems, products = [], Tally(), list[str](), 0
    for file in files:
        try:
            if mapping.log_of(file) is not None:
                logs.append(_events(file, mapping, tally))
            part = None if mapping.log_of(file) else mapping.catalogue_of(file)
            if part is not None:
                ids = mapped_catalogue(file, part).select(pl.col("product_id").is_not_null().sum())
                products += int(collect_tables([ids], [file])[0].item())
        except InvalidData as error:
            problems.append(str(InvalidData(error.problem, file=file.name, row=error.row, field=error.field)))
    actions, dropped, without_text = Counter[str](), Counter[str](), 0
    if logs:
        events = pl.concat(logs)
        actions.update(events.filter(pl.col("dropped").is_null())["action"])
        dropped.update(events["dropped"].drop_nulls())
        # The sample of a catalogue need not have the products of the sample of a log.
        without_text = 0 if products else _without_text(events)
    return Trial(
        dict(actions.most_common()),
        dict(dropped.most_common()),
        dict(tally.lost.most_common()),
        without_text,
        products,
        tuple(problems),
    )


def reads_log(files: Sequence[Path], name: str) -> bool:
    """Whether the reader or ready-made mapping of this name reads small files as a log."""
    kind = EventKind(name) if name in list(EventKind) else Mapping.open(name)
    try:
        for file in files:
            _events(file, kind, Tally())
    except InvalidData:
        return False
    except NotFound:  # a file that stands beside the one that it is a sample of
        return True
    return True


def reads_catalogue(files: Sequence[Path], name: str) -> bool:
    """Whether the ready-made mapping of this name reads small files as products."""
    try:
        for file in files:
            CatalogueFile(file, Mapping.open(name)).read()
    except InvalidData:
        return False
    except NotFound:
        return True
    return True


def _events(file: Path, kind: Mapping | EventKind, tally: Tally) -> pl.DataFrame:
    """The events of a file as ingestion cleans them."""
    events = read_events([file], kind)
    (read,) = collect_tables([events.frame], events.files)
    events.require_valid(read.lazy())
    with TemporaryDirectory() as folder:
        clean = cleaned(read.lazy(), Path(folder) / "cleaned.parquet", tally)
        columns = ("action", "dropped", "product_id", "title", "category")
        return collect_tables([clean.select(columns)], [])[0]


def _without_text(events: pl.DataFrame) -> int:
    has_text = pl.any_horizontal(pl.col("title", "category").is_not_null()).any().over("product_id")
    return events.filter(pl.col("dropped").is_null() & pl.col("product_id").is_not_null()).filter(~has_text).height
