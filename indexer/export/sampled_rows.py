"""Some products of a version, with all that the store has of them, in the order of their positions.

Letters: M products, K of them, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from indexer.revisions.revised_version import RevisedRows
from indexer.store.table_schema import POPULARITY, VECTOR, vectors_in
from ubm_embed.data.arrays import FloatArray, IntArray, evenly_spaced


@dataclass(frozen=True)
class SampledRows:
    """Products of a version.

    Attributes:
        live: the version's products.
        chosen: which of them, counted from 0: [K] ascending.
    """

    live: RevisedRows
    chosen: IntArray

    @classmethod
    def draw(cls, live: RevisedRows, count: int, seed: int) -> SampledRows:
        """At most `count` products, drawn at random without repetition."""
        if count >= len(live):
            return cls(live, np.arange(len(live)))
        return cls(live, np.sort(np.random.default_rng([seed, 8]).choice(len(live), count, replace=False)))

    def __len__(self) -> int:
        return int(self.chosen.size)

    @property
    def dimension(self) -> int:
        """Width of the vectors, D."""
        return self.live.revised.version.dimension

    @property
    def schema(self) -> pa.Schema:
        """The shop's columns and popularity."""
        return self.live.rows.schema

    def vectors(self, limit: int) -> FloatArray:
        """Those of at most `limit` of them, evenly spaced: [K, D]."""
        chosen = self.chosen[evenly_spaced(len(self), limit)]
        return np.concatenate([vectors for _, vectors in self._batches(chosen, ["product_id"])])

    def batches(self) -> Iterator[tuple[pl.DataFrame, FloatArray]]:
        """All of them, some thousands at a time: the columns of `schema`, and vectors [N, D]."""
        for rows, vectors in self._batches(self.chosen, self.schema.names):
            yield pl.DataFrame(rows).with_columns(pl.col(POPULARITY).fill_null(0)), vectors

    def _batches(self, chosen: IntArray, columns: list[str]) -> Iterator[tuple[pa.RecordBatch, FloatArray]]:
        # All rows are read, in order: for more than some thousands that is faster than finding each by its id.
        first = 0
        for batch in self.live.rows.batches(columns, vectors=True):
            begin, end = np.searchsorted(chosen, [first, first + batch.num_rows])
            if begin < end:
                rows = batch.take(pa.array(chosen[begin:end] - first))
                yield rows.drop_columns([VECTOR]), vectors_in(rows.column(VECTOR), self.dimension)
            first += batch.num_rows
