"""The forms of a log. Light, so that the command line can name them without polars."""

from __future__ import annotations

import enum


class EventKind(enum.StrEnum):
    """The form of a log that a reader in code reads; the others are read by ready-made mappings."""

    NATIVE = "native"
    GA4 = "ga4"
    SEGMENT = "segment"
    ADOBE = "adobe"
    MATOMO = "matomo"
    SNOWPLOW_ENRICHED = "snowplow_enriched"
    OTTO = "otto"
    AMAZON_M2 = "amazon_m2"

    @property
    def description(self) -> str:
        """What it is, in a line."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS = {
    EventKind.NATIVE: "the columns of a corpus",
    EventKind.GA4: "BigQuery export of Google Analytics 4",
    EventKind.SEGMENT: "Segment's e-commerce events",
    EventKind.ADOBE: "Adobe Analytics data feed, with column_headers.tsv beside it",
    EventKind.SNOWPLOW_ENRICHED: "Snowplow's enriched events (TSV), or tables with contexts and unstruct_event",
    EventKind.MATOMO: "Matomo's visits (Live.getLastVisitsDetails, JSON)",
    EventKind.OTTO: "OTTO's recommender dataset (JSON Lines)",
    EventKind.AMAZON_M2: "Amazon-M2 (KDD Cup 2023), sessions_train.csv",
}
