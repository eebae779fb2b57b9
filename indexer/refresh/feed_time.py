"""When a feed was written, and what a revision says of products since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from indexer.refresh.folded_catalogue import NewerProducts
from indexer.refresh.live_rows import LiveRows
from indexer.revisions.segment import ROW_REVISION, ROW_TIME
from indexer.store.table_schema import POPULARITY, ROW_HASH, TEXT_HASH


@dataclass(frozen=True)
class FoldCounts:
    """What became of a revision in the version that follows it.

    Attributes:
        folded: its number; 0 if there was none when the refresh began.
        kept: products that are as it has them, or deleted by it: they changed after the feed was written.
        replaced: products that are as the feed has them.
        carried: products that changed while the version was made, and are in a revision of it.
    """

    folded: int = 0
    kept: int = 0
    replaced: int = 0
    carried: int = 0

    def to_dict(self) -> dict[str, int]:
        """As JSON."""
        return asdict(self)


def written_at(files: Sequence[Path]) -> datetime:
    """When the newest of a feed's files was written."""
    return datetime.fromtimestamp(max(file.stat().st_mtime for file in files), UTC)


def newer_products(live: LiveRows, feed_time: datetime) -> tuple[NewerProducts | None, FoldCounts | None]:
    """The products that the live revision has from after a time, and the counts of all; None for none."""
    if live.revision is None:
        return None, None
    entries = live.entries.rows
    revised = entries[ROW_REVISION].to_numpy() > 0  # the others are of a patch
    times = entries[ROW_TIME].cast(pa.int64()).to_numpy()
    newer = revised & (times > int(feed_time.timestamp() * 1e6))
    counts = FoldCounts(live.revision.number, kept=int(newer.sum()), replaced=int((revised & ~newer).sum()))
    if not newer.any():
        return None, counts
    names = [name for name in entries.column_names if not name.startswith("_row") and name not in _NO_COLUMNS]
    alive = np.flatnonzero(newer & ~live.entry_deleted)
    rows = pl.from_arrow(entries.select(names).take(pa.array(alive)))
    ids = pl.Series("product_id", entries["product_id"].filter(pa.array(newer)), dtype=pl.String)
    assert isinstance(rows, pl.DataFrame), "a table has columns"
    return NewerProducts(ids, rows), counts


_NO_COLUMNS = (POPULARITY, ROW_HASH, TEXT_HASH)
