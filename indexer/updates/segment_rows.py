"""Changed and deleted products as rows of a segment.

Arrays are made by polars: where pandas is installed, `pyarrow.array` imports it, which takes half a second.

Letters: K products, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from indexer.revisions.segment import HASH_BYTES, ROW_DELETED, ROW_REVISION, ROW_TIME
from indexer.store.table_schema import TEXT_HASH, VECTOR
from ubm_embed.data.arrays import BoolArray, FloatArray


@dataclass(frozen=True)
class Stamp:
    """When and in which revision rows are written."""

    revision: int
    time: datetime


def upserted_rows(
    products: pl.DataFrame, vectors: FloatArray, has_vector: BoolArray, schema: pa.Schema, stamp: Stamp
) -> pa.Table:
    """Products with both hashes as rows of a schema that `segment_schema` made: [K].

    Args:
        vectors: [K, D].
        has_vector: for which the vector counts; for others the base row's does: [K].
    """
    given = {name: products[name].to_arrow() for name in schema.names if name in products.columns}
    hashes = pa.py_buffer(b"".join(products[TEXT_HASH]))
    given[TEXT_HASH] = pa.Array.from_buffers(pa.binary(HASH_BYTES), products.height, [None, hashes])
    if has_vector.any():
        given[VECTOR] = _vectors(vectors, has_vector).to_arrow()
    return _table(given, products.height, schema, stamp, deleted=False)


def tombstones(product_ids: Sequence[str], schema: pa.Schema, stamp: Stamp) -> pa.Table:
    """Deleted products as rows of a schema that `segment_schema` made: [K]."""
    ids = pl.Series(product_ids, dtype=pl.String).to_arrow()
    return _table({"product_id": ids}, len(product_ids), schema, stamp, deleted=True)


def _vectors(vectors: FloatArray, has_vector: BoolArray) -> pl.Series:
    every = pl.Series(VECTOR, np.ascontiguousarray(vectors, np.float32), pl.Array(pl.Float32, vectors.shape[1]))
    return every.to_frame().select(pl.when(pl.Series(has_vector)).then(pl.col(VECTOR))).to_series()


def _table(given: Mapping[str, pa.Array], count: int, schema: pa.Schema, stamp: Stamp, *, deleted: bool) -> pa.Table:
    stamps: dict[str, tuple[Any, pl.DataType]] = {
        ROW_REVISION: (stamp.revision, pl.Int64()),
        ROW_DELETED: (deleted, pl.Boolean()),
        ROW_TIME: (stamp.time, pl.Datetime("us", "UTC")),
    }
    columns = {name: pl.Series([value], dtype=kind).new_from_index(0, count) for name, (value, kind) in stamps.items()}
    arrays = {**given, **{name: column.to_arrow() for name, column in columns.items()}}
    return pa.table([_of_type(arrays.get(field.name), count, field.type) for field in schema], schema=schema)


def _of_type(array: pa.Array | None, count: int, kind: pa.DataType) -> pa.Array:
    if array is None:
        return pa.nulls(count, kind)
    return array if array.type == kind else array.cast(kind)
