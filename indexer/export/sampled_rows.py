"""Some products of a version, with all that the store has of them, in the table's order.

Letters: M products, K of them, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa

from indexer.store.embedding_store import EmbeddingStore
from indexer.store.table_schema import POPULARITY, VECTOR, vectors_in
from indexer.store.table_snapshot import TableSnapshot
from indexer.versions.version import StoreVersion
from ubm_embed.data.arrays import FloatArray, IntArray, evenly_spaced


@dataclass(frozen=True)
class SampledRows:
    """Products of a version.

    Attributes:
        version: of the store.
        table: the version's table.
        positions: [K] ascending.
    """

    version: StoreVersion
    table: TableSnapshot
    positions: IntArray

    @classmethod
    def draw(cls, store: EmbeddingStore, version: StoreVersion, count: int, seed: int) -> SampledRows:
        """At most `count` products, drawn at random without repetition."""
        positions = np.arange(version.products)
        if count < version.products:
            positions = np.sort(np.random.default_rng([seed, 8]).choice(version.products, count, replace=False))
        return cls(version, store.table.snapshot(version.table_version), positions)

    def __len__(self) -> int:
        return int(self.positions.size)

    @cached_property
    def schema(self) -> pa.Schema:
        """The shop's columns and popularity."""
        return self.table.row_schema

    def vectors(self, limit: int) -> FloatArray:
        """Those of at most `limit` of them, evenly spaced: [K, D]."""
        chosen = self.positions[evenly_spaced(len(self), limit)]
        return np.concatenate([vectors for _, vectors in self._batches(chosen)])

    def batches(self) -> Iterator[tuple[pl.DataFrame, FloatArray]]:
        """All of them, some thousands at a time: the columns of `schema`, and vectors [N, D]."""
        for rows, vectors in self._batches(self.positions):
            yield pl.DataFrame(rows).with_columns(pl.col(POPULARITY).fill_null(0)), vectors

    def _batches(self, positions: IntArray) -> Iterator[tuple[pa.RecordBatch, FloatArray]]:
        # All rows are read, in order: for more than some thousands that is faster than finding each by its id.
        first = 0
        for batch in self.table.row_batches(with_vectors=True):
            begin, end = np.searchsorted(positions, [first, first + batch.num_rows])
            if begin < end:
                rows = batch.take(pa.array(positions[begin:end] - first))
                yield rows.drop_columns([VECTOR]), vectors_in(rows.column(VECTOR), self.table.dimension)
            first += batch.num_rows
