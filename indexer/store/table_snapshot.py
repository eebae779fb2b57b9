"""One version of the table, kept open: rows by their places, and what LanceDB's own indexes find in it.

A place is a row's number in the order of the version. LanceDB has an id of its own for each row, and no such order.

Letters: M products, K places, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from indexer.store.lance_errors import translated
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.errors import InvalidData

PLACE, VECTOR = "place", "vector"
_ROW_ID = "_rowid"
_IDS_AT_ONCE = 1000


class Near(NamedTuple):
    """What is near to a vector, best first: at most as many as were asked for.

    Attributes:
        scores: inner products, [K].
        places: [K].
    """

    scores: FloatArray
    places: IntArray


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
    def lists(self) -> int:
        """Lists of LanceDB's index over the vectors; 0 without one."""
        with self._translated():
            named = [one.name for one in self._dataset.describe_indices() if VECTOR in one.field_names]
            if not named:
                return 0
            return int(self._dataset.stats.index_stats(named[0])["indices"][0]["num_partitions"])

    def rows(self, places: IntArray, columns: Sequence[str]) -> pl.DataFrame:
        """Rows at these places, in the order in which they are asked for; one may be asked for more than once."""
        table, where = self._read(places, columns)
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        return frame[where]

    def vectors(self, places: IntArray) -> FloatArray:
        """Vectors at these places: [K] -> [K, D]."""
        table, where = self._read(places, [VECTOR])
        return as_array(table.column(VECTOR).combine_chunks(), self.dimension)[where]

    def scan(self, where: str, columns: Sequence[str] = ()) -> pl.DataFrame:
        """Rows that satisfy a condition in LanceDB's SQL: their `place`, and these columns."""
        with self._translated():
            found = self._dataset.scanner(columns=list(columns), filter=where, with_row_id=True).to_table()
        places = pl.Series(PLACE, self._places(found.column(_ROW_ID).to_numpy()))
        if not columns:
            return places.to_frame()
        frame = pl.from_arrow(found.drop_columns([_ROW_ID]))
        assert isinstance(frame, pl.DataFrame)
        return frame.with_columns(places)

    def find(self, product_ids: Iterable[str]) -> dict[str, int]:
        """The places of the products that are there, by their ids."""
        names, places = list(dict.fromkeys(product_ids)), dict[str, int]()
        for first in range(0, len(names), _IDS_AT_ONCE):
            quoted = ", ".join("'" + name.replace("'", "''") + "'" for name in names[first : first + _IDS_AT_ONCE])
            found = self.scan(f"product_id IN ({quoted})", ["product_id"])
            places.update(found.select("product_id", PLACE).iter_rows())
        return places

    def nearest(self, query: FloatArray, k: int, lists: int, refined: int) -> Near:
        """What LanceDB's index over the vectors finds, scored by the vectors as they are stored.

        Args:
            query: [D], of length 1.
            k: at most so many.
            lists: in so many lists.
            refined: for each that is wanted, so many are looked at again in full.
        """
        asked = {
            "column": VECTOR,
            "q": query,
            "k": k,
            "minimum_nprobes": lists,
            "maximum_nprobes": lists,
            "refine_factor": refined,
        }
        with self._translated():
            found = self._dataset.scanner(columns=["_distance"], nearest=asked, with_row_id=True).to_table()
        scores: FloatArray = np.float32(1) - found.column("_distance").to_numpy()
        return Near(scores, self._places(found.column(_ROW_ID).to_numpy()))

    def _read(self, places: IntArray, columns: Sequence[str]) -> tuple[pa.Table, NDArray[np.int64]]:
        """Each row once and in order, however often and where it is asked for; and where those asked for stand."""
        wanted, where = np.unique(np.asarray(places, np.int64), return_inverse=True)
        if not wanted.size:
            return self.schema.empty_table().select(list(columns)), where
        # By their ids: to count off places among removed rows takes LanceDB twenty times as long.
        ids = ",".join(map(str, self._ids[wanted].tolist()))
        with self._translated():
            return self._dataset.to_table(columns=list(columns), filter=f"{_ROW_ID} IN ({ids})"), where

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """What LanceDB says, and what it most likely means of a version that could be opened."""
        try:
            with translated(self.uri):
                yield
        except InvalidData as error:
            if "Not found" not in error.problem:
                raise
            gone = "files of the version that was opened are gone"
            remedy = "if it was pruned since, open the store anew; if not, ubm-embed doctor says what is damaged"
            raise InvalidData(f"{gone}: {remedy} ({error.problem})", file=self.uri) from error

    @cached_property
    def _ids(self) -> NDArray[np.uint64]:
        """LanceDB's ids of the rows, in order: [M]."""
        with self._translated():
            ids = self._dataset.scanner(columns=[], with_row_id=True).to_table().column(_ROW_ID).to_numpy()
        return np.asarray(ids, np.uint64)

    @cached_property
    def _order(self) -> NDArray[np.int64] | None:
        """Places by increasing id; None where that is their order anyway."""
        return None if (self._ids[:-1] < self._ids[1:]).all() else np.argsort(self._ids)

    def _places(self, ids: NDArray[np.uint64]) -> IntArray:
        found: IntArray = np.searchsorted(self._ids, np.asarray(ids, np.uint64), sorter=self._order)
        return found if self._order is None else self._order[found]


def as_array(column: pa.FixedSizeListArray, width: int) -> FloatArray:
    """Vectors of a column: [K, D]."""
    array: FloatArray = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return array
