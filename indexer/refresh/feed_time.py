"""When a feed was written, and the products that were upserted or deleted since.

kept.arrow    of a version: products that were newer than its feed. They are newer than that feed, too, when it is given
              once more, as after a crash, and than any earlier one.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from indexer.refresh.folded_catalogue import NewerProducts
from indexer.refresh.live_rows import LiveRows
from indexer.revisions.segment import ROW_DELETED, ROW_REVISION, ROW_TIME
from indexer.store.embedding_store import version_folder
from indexer.store.table_schema import POPULARITY, ROW_HASH, TEXT_HASH
from indexer.versions.version import digest_of
from ubm_embed.errors import InvalidData
from ubm_embed.progress import Notice

KEPT_FILE = "kept.arrow"
# Clocks of two machines differ by less.
_MAX_CLOCK_ERROR = timedelta(minutes=5)
_NO_COLUMNS = (POPULARITY, ROW_HASH, TEXT_HASH, ROW_REVISION)


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


def exported_at(feed_time: datetime | None, files: Sequence[Path]) -> datetime:
    """When a feed was exported: as given, in UTC without an offset, else when the newest of its files was written."""
    if feed_time is None:
        return datetime.fromtimestamp(max(file.stat().st_mtime for file in files), UTC)
    return feed_time.replace(tzinfo=feed_time.tzinfo or UTC)


def newer_products(
    live: LiveRows, feed_time: datetime, notice: Notice
) -> tuple[NewerProducts | None, FoldCounts | None]:
    """The live products that changed after a time, and what becomes of the live revision; None for none.

    Args:
        notice: is told if changes give way to a feed that seems to be of a time to come.

    Raises:
        InvalidData: the record of an earlier feed is damaged.
    """
    revised, earlier = _revised(live), _kept_before(live)
    is_newer = pl.col(ROW_TIME) > feed_time
    counts = None
    if live.revision is not None and live.revision.segments:
        kept = revised.filter(is_newer).height
        counts = FoldCounts(live.revision.number, kept=kept, replaced=revised.height - kept)
        if counts.replaced and feed_time > datetime.now(UTC) + _MAX_CLOCK_ERROR:
            notice(f"the catalogue's time is in the future ({feed_time:%Y-%m-%d %H:%M %Z}): no upsert is newer than it")
    others = earlier.join(revised, on="product_id", how="anti", maintain_order="left")
    newer = pl.concat([others, revised], how="diagonal_relaxed").filter(is_newer)
    if newer.is_empty():
        return None, counts
    rows = newer.filter(~pl.col(ROW_DELETED)).drop(ROW_DELETED, ROW_TIME)
    return NewerProducts(newer["product_id"], rows, _content(newer)), counts


def _revised(live: LiveRows) -> pl.DataFrame:
    """The products of the live revision, without those of a patch."""
    entries = live.entries.rows
    names = [name for name in entries.column_names if name not in _NO_COLUMNS]
    revised = np.flatnonzero(entries[ROW_REVISION].to_numpy() > 0)
    return pl.DataFrame(pl.from_arrow(entries.select(names).take(pa.array(revised))))


def _kept_before(live: LiveRows) -> pl.DataFrame:
    """The products that the live version had from later than its feed."""
    if KEPT_FILE not in live.version.files:
        return _revised(live).clear()
    store, name = live.table.store, f"{version_folder(live.version.version)}/{KEPT_FILE}"
    try:
        content = store.storage.read(name)
    except FileNotFoundError:
        raise InvalidData("missing; the store is damaged", file=f"{store.uri}/{name}") from None
    if digest_of(content) != live.version.files[KEPT_FILE]:
        raise InvalidData("damaged: its content is not what was published", file=f"{store.uri}/{name}")
    return pl.read_ipc(io.BytesIO(content))


def _content(rows: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    rows.write_ipc(buffer, compression="lz4")
    return buffer.getvalue()
