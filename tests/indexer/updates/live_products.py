"""The products of a store's live version under its revision, as a refresh reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from indexer.revisions.version_rows import VersionRows
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.table_schema import VECTOR
from indexer.versions.live import Live, read_live
from indexer.versions.version import read_version

FIELDS = ("title", "category", "attributes", "price")


def live_of(store: str | Path) -> Live:
    return read_live(EmbeddingStore.open(store))


def live_products(store: str | Path) -> dict[str, dict[str, Any]]:
    """The values of the shop's fields by id, in order of the positions."""
    return {row["product_id"]: {name: row[name] for name in FIELDS} for row in _rows(store, vectors=False)}


def live_vectors(store: str | Path) -> dict[str, np.ndarray]:
    return {row["product_id"]: np.array(row[VECTOR], np.float32) for row in _rows(store, vectors=True)}


def _rows(store: str | Path, *, vectors: bool) -> list[dict[str, Any]]:
    opened = EmbeddingStore.open(store)
    live = read_live(opened)
    rows = VersionRows.open(opened, read_version(opened, live.version), live.revision)
    return [row for batch in rows.batches(["product_id", *FIELDS], vectors=vectors) for row in batch.to_pylist()]


def segments_of(store: Path) -> set[str]:
    """Names of the segments on disk of the live version."""
    folder = store / "revisions" / str(live_of(store).version)
    return {file.name for file in folder.iterdir()} if folder.is_dir() else set()
