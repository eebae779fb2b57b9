"""Changed and deleted products as rows of a segment.

Letters: K products, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
import pyarrow as pa

from indexer.revisions.segment import ROW_DELETED, ROW_REVISION, ROW_TIME
from indexer.store.table_schema import VECTOR
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
    values = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
    given = {name: products[name].to_arrow() for name in schema.names if name in products.columns}
    given[VECTOR] = pa.FixedSizeListArray.from_arrays(values, vectors.shape[1], mask=pa.array(~has_vector))
    return _table(given, products.height, schema, stamp, deleted=False)


def tombstones(product_ids: Sequence[str], schema: pa.Schema, stamp: Stamp) -> pa.Table:
    """Deleted products as rows of a schema that `segment_schema` made: [K]."""
    return _table({"product_id": pa.array(product_ids, pa.string())}, len(product_ids), schema, stamp, deleted=True)


def _table(given: dict[str, pa.Array], count: int, schema: pa.Schema, stamp: Stamp, *, deleted: bool) -> pa.Table:
    stamps = {ROW_REVISION: stamp.revision, ROW_DELETED: deleted, ROW_TIME: stamp.time}
    columns = []
    for field in schema:
        if field.name in stamps:
            columns.append(pa.array([stamps[field.name]] * count, field.type))
        elif field.name in given:
            columns.append(given[field.name].cast(field.type))
        else:
            columns.append(pa.nulls(count, field.type))
    return pa.table(columns, schema=schema)
