"""Vectors in a table of their own, under LanceDB's index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from indexer.index.kinds import DISK, IndexSpec
from indexer.index.lance_backend import LanceBackend
from indexer.index.vector_index import VectorIndex
from indexer.storage.local_storage import LocalStorage
from indexer.store.product_table import ProductTable
from indexer.store.table_schema import table_schema


def on_disk(folder: Path, parts: Sequence[np.ndarray]) -> VectorIndex:
    """An index of the kind `disk` where the vectors are enough for one, else what it comes to be."""
    vectors = np.concatenate(parts)
    spec = DISK.spec_for(len(vectors), vectors.shape[1])
    if spec.kind is not DISK:
        return VectorIndex.build([vectors], kind=spec.kind)
    version = written(folder, parts).create_index(1, spec.nlist)
    return opened(folder, version, spec)


def opened(folder: Path, version: int, spec: IndexSpec) -> VectorIndex:
    return VectorIndex(LanceBackend(ProductTable(LocalStorage(folder)).snapshot(version), spec.nlist), spec)


def written(folder: Path, parts: Sequence[np.ndarray]) -> ProductTable:
    """A table of products p0, p1, ... with these vectors."""
    table, first = ProductTable(LocalStorage(folder)), 0
    width = parts[0].shape[1]
    rows = pl.DataFrame({"product_id": [f"p{row}" for row in range(sum(map(len, parts)))]})
    fragments: list[str] = []
    for part in parts:
        if len(part):
            fragments += table.write_fragments(rows[first : first + len(part)], part, overwrite=True)
        first += len(part)
    table.replace(fragments, table_schema(rows, width), model_id="m1")
    return table
