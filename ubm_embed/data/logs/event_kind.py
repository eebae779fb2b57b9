"""The forms of a log. Light, so that the command line can name them without polars."""

from __future__ import annotations

import enum


class EventKind(enum.StrEnum):
    """The form of a log."""

    NATIVE = "native"
    """The columns of a corpus."""
    GA4 = "ga4"
    """The BigQuery export of Google Analytics 4."""
    SEGMENT = "segment"
    """Segment's e-commerce events."""
