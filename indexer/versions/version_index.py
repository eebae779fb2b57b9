"""The index of a version, ready to search: loaded from the version's file, or LanceDB's own in the table."""

from __future__ import annotations

from pathlib import Path

from indexer.index.kinds import DISK, IndexSpec
from indexer.index.lance_backend import LanceBackend
from indexer.index.vector_index import INDEX_FILE, VectorIndex
from indexer.store.product_table import ProductTable


def open_index(table: ProductTable, table_version: int, spec: IndexSpec, folder: Path) -> VectorIndex:
    """The index of a version.

    Args:
        table_version: the version of the table that it was built from.
        folder: the version's folder.

    Raises:
        NotFound: faiss is not installed.
        InvalidData: the index is missing, damaged, or not what `spec` says.
    """
    if spec.kind is DISK:
        return VectorIndex(LanceBackend(table.snapshot(table_version), spec.nlist), spec)
    return VectorIndex.load(folder / INDEX_FILE, spec)
