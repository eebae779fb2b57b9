"""What `ingest` left out of a corpus, from the report that it wrote beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ubm_embed.data.inspection.finding import Finding, Severity
from ubm_embed.data.logs.event_table import (
    DUPLICATE_MESSAGE,
    DUPLICATE_ORDER,
    NO_ADD,
    OTHER_EVENT,
    REPEATED,
    UNKNOWN_PRODUCT,
)
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.wording import percent

_MAX_BYTES = 16 << 20
# These are left out on purpose; all others are events that a better log or mapping would have kept.
_MEANT = frozenset((OTHER_EVENT, REPEATED, DUPLICATE_MESSAGE, DUPLICATE_ORDER, NO_ADD))


@dataclass(frozen=True)
class IngestLosses:
    """Events that did not become interactions.

    Attributes:
        events: read.
        dropped: by reason.
        unknown_product_share: of the events that were to be kept, those that name a product without text.
        lost_share: of the same, those dropped for any reason.
    """

    events: int
    dropped: Mapping[str, int]
    unknown_product_share: float
    lost_share: float

    @classmethod
    def read(cls, file: str | Path) -> IngestLosses:
        """Read what `ingest --report` wrote.

        Raises:
            NotFound: no such file.
            InvalidData: not such a report; names the field.
        """
        document = _read_object(Path(file))
        events, dropped = document.get("events"), document.get("dropped")
        if not isinstance(events, int) or not _is_count(events):
            raise InvalidData("expected the events that ingest read, a whole number", file=file, field="events")
        if not isinstance(dropped, dict) or not all(map(_is_count, dropped.values())):
            raise InvalidData("expected an object of counts by reason", file=file, field="dropped")
        return cls.from_counts(events, dropped)

    @classmethod
    def from_counts(cls, events: int, dropped: Mapping[str, int]) -> IngestLosses:
        """From the events that were read, and those dropped by reason."""
        lost = sum(count for reason, count in dropped.items() if reason not in _MEANT)
        meant = max(1, events - sum(dropped.get(reason, 0) for reason in _MEANT))
        return cls(events, dict(dropped), dropped.get(UNKNOWN_PRODUCT, 0) / meant, lost / meant)


def loss_findings(losses: IngestLosses) -> Iterator[Finding]:
    """Findings about dropped events."""
    if losses.unknown_product_share > 0.01:
        yield Finding(
            Severity.WARNING if losses.unknown_product_share > 0.05 else Severity.NOTE,
            "dropped",
            f"{percent(losses.unknown_product_share)} of the events name products without text",
            "give `ingest --catalogue` a catalogue that has the products of the whole log, also those sold out since",
        )
    other = losses.lost_share - losses.unknown_product_share
    if other > 0.01:
        yield Finding(
            Severity.WARNING if other > 0.05 else Severity.NOTE,
            "dropped",
            f"{percent(other)} of the events were dropped for other reasons",
            "look at the reasons in the report of ingest",
        )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _read_object(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise NotFound(f"no file {file}")
    if file.stat().st_size > _MAX_BYTES:
        raise InvalidData("too large for a report of ingest", file=file)
    try:
        document = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InvalidData(f"not JSON: {error}", file=file) from None
    if not isinstance(document, dict):
        raise InvalidData("expected what `ingest --report` wrote, an object", file=file)
    return document
