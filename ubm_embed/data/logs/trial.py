"""What a mapping makes of some files, without writing anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ubm_embed.data.logs.events import read_events
from ubm_embed.data.mappings.mapped_catalogue import mapped_catalogue
from ubm_embed.data.mappings.mapping import Mapping
from ubm_embed.data.tables.table_files import collect_tables
from ubm_embed.errors import InvalidData


@dataclass(frozen=True)
class Trial:
    """How the rows of some files were read.

    Attributes:
        actions: events by action.
        dropped: events that do not count, by reason.
        products: rows of catalogues, with an id.
        problems: why a file was not read.
    """

    actions: dict[str, int]
    dropped: dict[str, int]
    products: int
    problems: tuple[str, ...]


def try_mapping(files: Sequence[Path], mapping: Mapping) -> Trial:
    """Read small files through a mapping."""
    actions, dropped, problems, products = Counter[str](), Counter[str](), list[str](), 0
    for file in files:
        try:
            if mapping.log_of(file) is not None:
                _count_events(file, mapping, actions, dropped)
            part = None if mapping.log_of(file) else mapping.catalogue_of(file)
            if part is not None:
                ids = mapped_catalogue(file, part).select(pl.col("product_id").is_not_null().sum())
                products += int(collect_tables([ids], [file])[0].item())
        except InvalidData as error:
            problems.append(str(InvalidData(error.problem, file=file.name, row=error.row, field=error.field)))
    return Trial(dict(actions.most_common()), dict(dropped.most_common()), products, tuple(problems))


def _count_events(file: Path, mapping: Mapping, actions: Counter[str], dropped: Counter[str]) -> None:
    events = read_events([file], mapping)
    counts = events.frame.group_by("action", "dropped").len()
    for action, reason, count in collect_tables([counts], events.files)[0].iter_rows():
        if reason is None:
            actions[action] += count
        else:
            dropped[reason] += count
