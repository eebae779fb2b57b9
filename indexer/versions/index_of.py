"""The index of a version as it is searched: in memory from the version's file, or on disk in the table."""

from __future__ import annotations

from pathlib import Path

from indexer.index.kinds import DISK, IndexSpec
from indexer.index.lance_backend import LanceBackend
from indexer.index.vector_index import INDEX_FILE, VectorIndex
from indexer.store.product_table import ProductTable


def index_of(table: ProductTable, table_version: int, spec: IndexSpec, folder: Path) -> VectorIndex:
    """The index of a spec.

    Args:
        table_version: the version of the table that it was built from.
        folder: where the version's files are.

    Raises:
        NotFound: faiss is not installed.
        InvalidData: it is missing, damaged, or another one than the spec says.
    """
    if spec.kind is DISK:
        return VectorIndex(LanceBackend(table.snapshot(table_version), spec.nlist), spec)
    return VectorIndex.load(folder / INDEX_FILE, spec)
