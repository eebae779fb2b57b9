"""What every kind of update does: from the live version's products to the rows of a segment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import pyarrow as pa

from indexer.updates.current_products import CurrentProducts
from indexer.updates.report import UpdateReport
from indexer.updates.segment_rows import Stamp


@dataclass(frozen=True)
class Outcome:
    """What an update makes of the live version.

    Attributes:
        rows: to write, as of the version's `segment_schema`; none if nothing changes.
        report: as if they were written already.
    """

    rows: pa.Table
    report: UpdateReport


class Update(Protocol):
    """An update, which may be asked for its rows several times, if others publish meanwhile."""

    def outcome(self, current: CurrentProducts) -> Outcome:
        """What it makes of products as they are now."""


def next_stamp(current: CurrentProducts) -> Stamp:
    """The stamp of rows that are written now."""
    number = current.revision.number + 1 if current.revision else 1
    return Stamp(number, datetime.now(UTC))
