"""One version of the product table, kept open: its rows by position, and searches with LanceDB's own indexes.

A position is a row's number in the order of the version. LanceDB has an id for each row, but no such order.

Letters: M products, K positions, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexer.store.lance_errors import translated
from indexer.store.table_schema import ROW_HASH, TEXT_HASH, VECTOR, vectors_in
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.errors import InvalidData

_ROW_ID = "_rowid"
_ROWS_PER_BATCH = 8192


class NearestRows(NamedTuple):
    """The rows whose vectors are nearest to a query, best first.

    Attributes:
        scores: inner products, [K].
        positions: [K].
    """

    scores: FloatArray
    positions: IntArray


class TableSnapshot:
    """A handle on one version of a LanceDB table. Several threads may read at once.

    Raises:
        InvalidData: from any method: the table is damaged, or this version of it was removed.
    """

    def __init__(self, dataset: Any, uri: str) -> None:
        self._dataset = dataset
        self.uri = uri

    def __len__(self) -> int:
        return int(self._ids.size)

    @property
    def schema(self) -> pa.Schema:
        """Columns and their types, the vector among them."""
        return self._dataset.schema

    @property
    def dimension(self) -> int:
        """Width of the vectors, D."""
        return int(self.schema.field(VECTOR).type.list_size)

    @cached_property
    def nlist(self) -> int:
        """Lists of LanceDB's index over the vectors; 0 if there is no index."""
        with self._translated():
            names = [index.name for index in self._dataset.describe_indices() if VECTOR in index.field_names]
            if not names:
                return 0
            return int(self._dataset.stats.index_stats(names[0])["indices"][0]["num_partitions"])

    @property
    def row_schema(self) -> pa.Schema:
        """The shop's columns and popularity."""
        return pa.schema([field for field in self.schema if field.name not in (VECTOR, TEXT_HASH, ROW_HASH)])

    @property
    def hashed_schema(self) -> pa.Schema:
        """The shop's columns, popularity, and the hashes that the table has."""
        return pa.schema([field for field in self.schema if field.name != VECTOR])

    def row_batches(self, *, with_vectors: bool = False, with_hashes: bool = False) -> Iterator[pa.RecordBatch]:
        """All rows in order, with the columns of `row_schema`, some thousands at a time.

        Args:
            with_vectors: with the vectors, too.
            with_hashes: with the columns of `hashed_schema` instead.
        """
        columns = self.hashed_schema if with_hashes else self.row_schema
        return self._batches([*columns.names, *([VECTOR] if with_vectors else [])])

    def hash_batches(self) -> Iterator[pa.RecordBatch]:
        """The hashes of the texts in order, some thousands at a time."""
        return self._batches([TEXT_HASH])

    def _batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with self._translated():
            # Read only a little ahead, for memory.
            limits = {"batch_size": _ROWS_PER_BATCH, "batch_readahead": 2, "fragment_readahead": 2}
            yield from self._dataset.to_batches(columns=list(columns), **limits)

    def vectors(self, positions: IntArray) -> FloatArray:
        """Vectors at these positions: [K] -> [K, D]."""
        table, order = self._read(positions, [VECTOR])
        return vectors_in(table.column(VECTOR).combine_chunks(), self.dimension)[order]

    def nearest(self, query: FloatArray, k: int, nprobe: int, refine_factor: int) -> NearestRows:
        """At most K rows by LanceDB's index over the vectors, scored with the vectors as they are stored.

        Args:
            query: [D], of length 1.
            k: how many rows, K.
            nprobe: how many of the index's lists to search.
            refine_factor: how many candidates to score for each of the K.
        """
        nearest = {
            "column": VECTOR,
            "q": query,
            "k": k,
            "minimum_nprobes": nprobe,
            "maximum_nprobes": nprobe,
            "refine_factor": refine_factor,
        }
        with self._translated():
            table = self._dataset.scanner(columns=["_distance"], nearest=nearest, with_row_id=True).to_table()
        scores: FloatArray = np.float32(1) - table.column("_distance").to_numpy()
        return NearestRows(scores, self._positions(table.column(_ROW_ID).to_numpy()))

    def _read(self, positions: IntArray, columns: Sequence[str]) -> tuple[pa.Table, NDArray[np.int64]]:
        """Each row once, sorted by position; and for each requested position the index of its row, [K]."""
        distinct, order = np.unique(np.asarray(positions, np.int64), return_inverse=True)
        if not distinct.size:
            return self.schema.empty_table().select(list(columns)), order
        # By id: finding a position among removed rows takes LanceDB twenty times as long.
        ids = ",".join(map(str, self._ids[distinct].tolist()))
        with self._translated():
            return self._dataset.to_table(columns=list(columns), filter=f"{_ROW_ID} IN ({ids})"), order

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """LanceDB's errors as ours, with the likely reason why files are missing that were there when it was opened."""
        try:
            with translated(self.uri):
                yield
        except InvalidData as error:
            if "Not found" not in error.problem:
                raise
            gone = "files of the version that was opened are gone"
            remedy = "if it was pruned since, open the store again; if not, ubm-embed doctor reports what is damaged"
            raise InvalidData(f"{gone}: {remedy} ({error.problem})", file=self.uri) from error

    @cached_property
    def _ids(self) -> NDArray[np.uint64]:
        """LanceDB's ids of the rows, by position: [M]."""
        with self._translated():
            ids = self._dataset.scanner(columns=[], with_row_id=True).to_table().column(_ROW_ID).to_numpy()
        return np.asarray(ids, np.uint64)

    @cached_property
    def _order(self) -> NDArray[np.int64] | None:
        """Positions by increasing id; None if the ids increase with the position."""
        return None if (self._ids[:-1] < self._ids[1:]).all() else np.argsort(self._ids)

    def _positions(self, ids: NDArray[np.uint64]) -> IntArray:
        ranks: IntArray = np.searchsorted(self._ids, np.asarray(ids, np.uint64), sorter=self._order)
        return ranks if self._order is None else self._order[ranks]
