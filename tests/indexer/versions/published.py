"""A store whose versions have rows of their own, and nothing else that is real: for tests of which versions stay."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from indexer.store.embedding_store import EmbeddingStore
from indexer.store.table_schema import POPULARITY, table_schema
from indexer.versions.live import make_live, publish_revision, read_live
from indexer.versions.revision import Revision, SegmentFile, segment_path
from indexer.versions.version import METRIC, PATCH_FILE, StoreVersion, digests, read_version

ROWS, WIDTH = 500, 16
TABLE_BYTES = ROWS * WIDTH * 4


def publish(
    store: EmbeddingStore,
    *numbers: int,
    model_id: str = "m1",
    days_ago: float = 0,
    pinned: bool = True,
    shares: int | None = None,
) -> None:
    """Publish versions, each with rows of its own, or which share the files of another one."""
    for number in numbers:
        if shares is None:
            write(store, number, model_id, days_ago, pinned)
        else:
            write_sharing(store, number, shares)
        make_live(store, number, known=read_live(store) if store.storage.exists("live.json") else None)


def write_sharing(store: EmbeddingStore, number: int, base: int) -> None:
    """Write a version that shares the files of another one."""
    version = read_version(store, base)
    with store.storage.write_folder(f"versions/{number}", last="manifest.json") as aside:
        (aside / PATCH_FILE).write_bytes(b"patch")
        version.replace(version=number, shares_files_of=base, files=digests(aside)).write(aside)


def revise(store: EmbeddingStore, *sizes: int) -> Revision:
    """Publish a revision of the live version, with segments of so many rows; nothing real is in them."""
    known = read_live(store)
    number = known.revision.number + 1 if known.revision else 1
    segments = [write_segment(store, known.version, number, rows) for rows in sizes]
    revision = Revision(number=number, segments=tuple(segments), created="2026-01-02T03:04:05+00:00")
    return publish_revision(store, revision, known=known).revisions[known.version]


def write_segment(store: EmbeddingStore, version: int, number: int, rows: int) -> SegmentFile:
    """Write a segment that no revision has yet."""
    name = f"{number}-{secrets.token_hex(8)}.arrow"
    store.storage.write(segment_path(version, name), b"row" * rows)
    return SegmentFile(name=name, rows=rows, bytes=3 * rows, sha256="0" * 64)


def write(store: EmbeddingStore, number: int, model_id: str = "m1", days_ago: float = 0, pinned: bool = True) -> None:
    """Write a version with rows of its own, which is not made live."""
    ids = [f"p{number}-{row}" for row in range(ROWS)]
    rows = pl.DataFrame({"product_id": ids, POPULARITY: [0] * ROWS})
    vectors = np.random.default_rng(number).standard_normal((ROWS, WIDTH)).astype(np.float32)
    fragments = store.table.write_fragments(rows, vectors, overwrite=True)
    table_version = store.table.replace(fragments, table_schema(rows, WIDTH), model_id=model_id)
    if pinned:
        store.table.pin(number, table_version)
    store.storage.write(f"models/{model_id}/config.json", b"{}" * 1000)
    created = (datetime.now(UTC) - timedelta(days=days_ago)).isoformat(timespec="seconds")
    version = StoreVersion(
        version=number,
        table_version=table_version,
        model_id=model_id,
        dimension=WIDTH,
        kind="flat",
        metric=METRIC,
        products=ROWS,
        indexed=ROWS,
        recall_at_10=1.0,
        created=created,
        software="0.1.0",
        source="products.parquet",
    )
    with store.storage.write_folder(f"versions/{number}", last="manifest.json") as aside:
        (aside / "index.faiss").write_bytes(vectors.tobytes())
        version.replace(files=digests(aside)).write(aside) if pinned else version.write(aside)
