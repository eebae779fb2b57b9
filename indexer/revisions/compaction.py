"""Adding rows to a version's revision, and keeping its segments few.

Segments are merged like the runs of a log-structured merge tree: about log2 of the rows stay, and each row is written
again about as often.
"""

from __future__ import annotations

import pyarrow as pa

from indexer.revisions.segment import ROW_REVISION, array_of, last_rows, read_segment, write_segment
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.revision import Revision


def add_rows(store: EmbeddingStore, version: int, revision: Revision | None, rows: pa.Table, created: str) -> Revision:
    """Write rows, and return the revision that has them on top of another one. Nothing is live yet.

    Args:
        version: its number.
        revision: the one to add to; None if the version has none.
        rows: of the version's `segment_schema`, in order of application; of two rows of a product the later one counts.
            Their revision is the next one's number, or a lower one.
        created: UTC, ISO 8601.

    Raises:
        ValueError: a row is of another revision.
        InvalidData: a segment that is to be merged is missing or damaged.
        OSError: the disk is full, or the like.
    """
    number = revision.number + 1 if revision else 1
    numbers = array_of(rows, ROW_REVISION)
    if ((numbers < 1) | (numbers > number)).any():
        raise ValueError(f"expected rows of revisions 1 to {number}")
    segments = list(revision.segments) if revision else []
    merged = last_rows(rows)
    while segments and segments[-1].rows < 2 * merged.num_rows:
        earlier = read_segment(store, version, segments.pop(), merged.schema)
        merged = last_rows(pa.concat_tables([earlier, merged]))
    written = write_segment(store, version, number, merged)
    return Revision(number=number, segments=(*segments, written), created=created)
