"""The products of a version, ready to be read: mapped from its files, or derived from the table for older versions.

Versions of layout 1 have `ids.parquet`, the product id of each row of the index, and no other file of products.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING

from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.index.kinds import DISK
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.product_table import ProductTable
from indexer.versions.version import StoreVersion
from ubm_embed.errors import InvalidData

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

IDS_FILE = "ids.parquet"


def open_catalogue(
    store: EmbeddingStore, version: StoreVersion, folder: Path, own: Path | None = None
) -> MappedCatalogue:
    """The products of a version, in its index's order.

    It watches all files of the version, the index among them. For a version of layout 1 the files are made from the
    table in TMPDIR first, which takes some seconds for a million products; the next refresh writes them to the store.

    Args:
        folder: of `version.files_version`; it may be removed once this returns.
        own: the version's folder, if that is another one.

    Raises:
        InvalidData: a file is missing, truncated or damaged, or has other products than the manifest says.
        OSError: a file may not be read, or TMPDIR is full.
    """
    files = [(own or folder) / name for name in version.files]
    if own is not None:
        return MappedCatalogue.open(folder, version.indexed, [*files, *sorted(folder.iterdir())], own)
    if version.layout > 1:
        return MappedCatalogue.open(folder, version.indexed, files)
    schema, batches = _rows_in_order(store.table, version, folder)
    try:
        return MappedCatalogue.from_batches(schema, batches, files)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        full = OSError(error.errno, os.strerror(error.errno), gettempdir())
        full.add_note(f"the products of version {version.version}, by older software, are copied there (see TMPDIR)")
        raise full from None


def read_ids(file: Path) -> pl.Series:
    """The ids in the file of a version of layout 1.

    Raises:
        InvalidData: the file is missing or damaged.
    """
    import polars as pl

    try:
        frame = pl.read_parquet(file, columns=["product_id"], glob=False, hive_partitioning=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidData(f"missing or damaged: {str(error).splitlines()[0]}", file=file) from None
    return frame["product_id"].cast(pl.String)


def _rows_in_order(
    table: ProductTable, version: StoreVersion, folder: Path
) -> tuple[pa.Schema, Iterable[pa.RecordBatch]]:
    """The rows of a version of layout 1 in the order of its index's ids, which is almost always the table's."""
    snapshot = table.snapshot(version.table_version)
    if version.index_spec.kind is DISK:
        return snapshot.row_schema, snapshot.row_batches()
    file = folder / IDS_FILE
    ids, table_ids = read_ids(file), table.read(version.table_version, ["product_id"])["product_id"]
    if ids.len() != version.indexed:
        raise InvalidData(f"{ids.len()} ids, but the manifest says {version.indexed}", file=file)
    if ids.equals(table_ids):
        return snapshot.row_schema, snapshot.row_batches()
    frame = table.read(version.table_version)
    ordered = ids.to_frame("product_id").join(frame, on="product_id", how="inner", maintain_order="left")
    if not ordered.height == ids.len() == frame.height:
        problem = f"{ids.len()} ids, of which the table's {frame.height} products have {ordered.height}"
        raise InvalidData(problem, file=file)
    rows = ordered.select(frame.columns).to_arrow()
    return rows.schema, rows.to_batches()
