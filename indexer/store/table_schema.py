"""The columns of the product table: the shop's own, and those that are added to them.

Letters: K rows, D width.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from ubm_embed.data.arrays import FloatArray
from ubm_embed.errors import InvalidData

if TYPE_CHECKING:
    import polars as pl

VECTOR, POPULARITY, TEXT_HASH, ROW_HASH = "vector", "popularity", "text_hash", "row_hash"
ADDED_COLUMNS = (VECTOR, POPULARITY, TEXT_HASH, ROW_HASH)

# LanceDB keeps `_row...` and `_distance` for itself, reads a dot as a path into a struct, and cannot select `*` or a
# name with a backtick.
_NAME = re.compile(r"(?!_row|_distance$)(?!\*$)[^.`]+")


def require_storable(products: pl.DataFrame, file: str | Path) -> None:
    """Raise `InvalidData` for a column whose name or type the table cannot hold. Call it before long work."""
    from polars.exceptions import PolarsError

    for name, dtype in products.schema.items():
        if name in ADDED_COLUMNS or not _NAME.fullmatch(name):
            raise InvalidData("a column of this name cannot be stored; rename it", file=file, field=name)
        try:
            products[name].head(0).to_arrow()
        except (pa.ArrowException, PolarsError):
            raise InvalidData(f"values of type {dtype} cannot be stored", file=file, field=name) from None


def table_schema(products: pl.DataFrame, width: int) -> pa.Schema:
    """The schema of a table with the columns of these rows and vectors of this width."""
    vector = pa.field(VECTOR, pa.list_(pa.float32(), width), nullable=False)
    return products.head(0).to_arrow().schema.append(vector)


def record_batches(
    products: pl.DataFrame, vectors: FloatArray, schema: pa.Schema, size: int
) -> Iterator[pa.RecordBatch]:
    """Rows and their vectors, [K, D], as batches of a schema that `table_schema` made, `size` rows at a time."""
    for first, rows in enumerate(products.iter_slices(size)):
        part = vectors[first * size :][: rows.height]
        column = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), vectors.shape[1])
        arrays = [*(chunked.combine_chunks() for chunked in rows.to_arrow().columns), column]
        yield pa.record_batch(arrays, schema=schema)


def vectors_in(column: pa.FixedSizeListArray, width: int) -> FloatArray:
    """The vectors in a column: [K, D], without a copy."""
    vectors: FloatArray = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return vectors
