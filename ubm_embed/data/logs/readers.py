"""The readers of logs, by the names of their forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import polars as pl

from ubm_embed.data.logs.adobe import adobe_hits, is_lookup
from ubm_embed.data.logs.amazon_m2 import PRODUCTS_MAPPING, amazon_m2_events, is_products
from ubm_embed.data.logs.event_kind import EventKind
from ubm_embed.data.logs.event_names import SEGMENT_TIMES
from ubm_embed.data.logs.ga4 import GA4_SCHEMA, ga4_events
from ubm_embed.data.logs.matomo import MATOMO_SCHEMA, matomo_events
from ubm_embed.data.logs.native import native_log
from ubm_embed.data.logs.nested_reader import NestedReader
from ubm_embed.data.logs.otto import OTTO_SCHEMA, otto_events
from ubm_embed.data.logs.segment import SEGMENT_SCHEMA, segment_events
from ubm_embed.data.logs.snowplow import SNOWPLOW_SCHEMA, TIMES, enriched_format, snowplow_events

Reader: TypeAlias = Callable[[Path], pl.LazyFrame]
"""From one file to its raw events, see `EVENT_SCHEMA`."""


READERS: Mapping[EventKind, Reader] = {
    EventKind.NATIVE: native_log,
    EventKind.GA4: NestedReader(EventKind.GA4, GA4_SCHEMA, "event_name", ga4_events, ("event_timestamp",)),
    EventKind.SEGMENT: NestedReader(EventKind.SEGMENT, SEGMENT_SCHEMA, "event", segment_events, SEGMENT_TIMES),
    EventKind.ADOBE: adobe_hits,
    EventKind.SNOWPLOW_ENRICHED: NestedReader(
        EventKind.SNOWPLOW_ENRICHED, SNOWPLOW_SCHEMA, "event_id", snowplow_events, TIMES, enriched_format
    ),
    EventKind.MATOMO: NestedReader(EventKind.MATOMO, MATOMO_SCHEMA, "actionDetails", matomo_events),
    EventKind.OTTO: NestedReader(EventKind.OTTO, OTTO_SCHEMA, "events", otto_events),
    EventKind.AMAZON_M2: amazon_m2_events,
}


def is_beside(file: Path, kind: EventKind) -> bool:
    """Whether a file among those of such a log has no events, and goes without saying."""
    return kind is EventKind.ADOBE and is_lookup(file)


def catalogue_mapping(file: Path, kind: EventKind) -> str | None:
    """The ready-made mapping of a file of products among those of such a log; None for any other file."""
    return PRODUCTS_MAPPING if kind is EventKind.AMAZON_M2 and is_products(file) else None
