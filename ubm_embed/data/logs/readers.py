"""The readers of logs, by the names of their forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import polars as pl

from ubm_embed.data.logs.adobe import adobe_hits, is_lookup
from ubm_embed.data.logs.amazon_m2 import amazon_m2_events
from ubm_embed.data.logs.event_kind import EventKind
from ubm_embed.data.logs.event_table import PROBLEM, ROW
from ubm_embed.data.logs.ga4 import GA4_SCHEMA, ga4_events
from ubm_embed.data.logs.matomo import MATOMO_SCHEMA, matomo_events
from ubm_embed.data.logs.native import native_log
from ubm_embed.data.logs.nested import decode_nested
from ubm_embed.data.logs.otto import OTTO_SCHEMA, otto_events
from ubm_embed.data.logs.segment import SEGMENT_SCHEMA, segment_events
from ubm_embed.data.logs.snowplow import SNOWPLOW_SCHEMA, enriched_format, snowplow_events
from ubm_embed.data.tables.formats import CsvFormat
from ubm_embed.data.tables.table_files import collect_tables, scan_table
from ubm_embed.errors import InvalidData

Reader: TypeAlias = Callable[[Path], pl.LazyFrame]
"""From one file to its raw events, see `EVENT_SCHEMA`."""


@dataclass(frozen=True)
class NestedReader:
    """Reads a log whose rows are records with records in them.

    Attributes:
        kind: the form of the log.
        schema: of its rows: how JSON is read, also where a cell of another format holds it as text.
        event: the column that says which event a row is, or that any event has.
        events: from rows in `schema`, as far as the file has them, with `ROW` and `PROBLEM`, to raw events.
        csv: how a file of separated texts is written.
    """

    kind: EventKind
    schema: Mapping[str, pl.DataType]
    event: str
    events: Callable[[pl.LazyFrame], pl.LazyFrame]
    csv: Callable[[Path], CsvFormat | None] | None = None

    def __call__(self, file: Path) -> pl.LazyFrame:
        """The raw events of a file.

        Raises:
            NotFound: no such file.
            InvalidData: not readable, or no row names its event: then it is a log of another form.
        """
        csv = self.csv(file) if self.csv else None
        log = scan_table(file, schema=self.schema, csv=csv, row=ROW, problem=PROBLEM)
        if self.event in log.collect_schema():
            named = log.select(self.event).filter(pl.col(self.event).is_not_null()).head(1)
            if not collect_tables([named], [file])[0].is_empty():
                return self.events(decode_nested(log, self.schema))
        raise InvalidData(f"no row names its event; expected a log of {self.kind}", file=file, field=self.event)


READERS: Mapping[EventKind, Reader] = {
    EventKind.NATIVE: native_log,
    EventKind.GA4: NestedReader(EventKind.GA4, GA4_SCHEMA, "event_name", ga4_events),
    EventKind.SEGMENT: NestedReader(EventKind.SEGMENT, SEGMENT_SCHEMA, "event", segment_events),
    EventKind.ADOBE: adobe_hits,
    EventKind.SNOWPLOW_ENRICHED: NestedReader(
        EventKind.SNOWPLOW_ENRICHED, SNOWPLOW_SCHEMA, "event_id", snowplow_events, enriched_format
    ),
    EventKind.MATOMO: NestedReader(EventKind.MATOMO, MATOMO_SCHEMA, "actionDetails", matomo_events),
    EventKind.OTTO: NestedReader(EventKind.OTTO, OTTO_SCHEMA, "events", otto_events),
    EventKind.AMAZON_M2: amazon_m2_events,
}


def is_beside(file: Path, kind: EventKind) -> bool:
    """Whether a file among those of such a log has no events, and goes without saying."""
    return kind is EventKind.ADOBE and is_lookup(file)
