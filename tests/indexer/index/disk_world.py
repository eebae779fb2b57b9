"""Vectors in a table of their own, under LanceDB's index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from indexer.index.kinds import DISK, IndexForm
from indexer.index.lance_backend import DiskEngine
from indexer.index.vector_index import VectorIndex
from indexer.storage.local_storage import LocalStorage
from indexer.store.product_table import ProductTable, table_schema


def on_disk(folder: Path, parts: Sequence[np.ndarray]) -> VectorIndex:
    """An index of the kind `disk` where the vectors are enough for one, else what it comes to be."""
    vectors = np.concatenate(parts)
    form = DISK.form(len(vectors), vectors.shape[1])
    if form.kind is not DISK:
        return VectorIndex.build([vectors], kind=form.kind)
    version = written(folder, parts).index_vectors(1, form.lists)
    return opened(folder, version, form)


def opened(folder: Path, version: int, form: IndexForm) -> VectorIndex:
    return VectorIndex(DiskEngine(ProductTable(LocalStorage(folder)).snapshot(version), form.lists), form)


def written(folder: Path, parts: Sequence[np.ndarray]) -> ProductTable:
    """A table of products p0, p1, ... with these vectors."""
    table, first = ProductTable(LocalStorage(folder)), 0
    width = parts[0].shape[1]
    rows = pl.DataFrame({"product_id": [f"p{row}" for row in range(sum(map(len, parts)))]})
    fragments: list[str] = []
    for part in parts:
        if len(part):
            fragments += table.write_fragments(rows[first : first + len(part)], part, anew=True)
        first += len(part)
    table.replace(fragments, table_schema(rows, width), model_id="m1")
    return table
