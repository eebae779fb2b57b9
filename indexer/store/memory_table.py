"""Rows in memory that can be filtered with LanceDB's SQL, as a table can."""

from __future__ import annotations

import uuid

import numpy as np
import pyarrow as pa

from ubm_embed.data.arrays import IntArray


class MemoryTable:
    """A copy of some rows. It imports lance, so make one only when there is a condition.

    Attributes:
        nbytes: about how much memory it takes.
    """

    def __init__(self, rows: pa.Table) -> None:
        import lance

        self.nbytes: int = rows.nbytes
        # In one fragment, so that a row's id is its position.
        uri, one_fragment = f"memory://{uuid.uuid4().hex}", max(rows.num_rows, 1)
        rows = pa.table({name: _aligned(column) for name, column in zip(rows.column_names, rows.columns, strict=True)})
        self._dataset = lance.write_dataset(rows, uri, max_rows_per_file=one_fragment)

    def positions_where(self, condition: str) -> IntArray:
        """Positions of the rows that satisfy a condition in LanceDB's SQL: [K]. Its errors are LanceDB's own."""
        rows = self._dataset.scanner(columns=[], filter=condition, with_row_id=True).to_table()
        positions: IntArray = rows.column("_rowid").to_numpy().astype(np.int64)
        return positions


def _aligned(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values where LanceDB accepts them: it ends on decimals that a mapped file has at odd multiples of 8."""
    if "decimal" not in str(column.type):
        return column
    return pa.chunked_array([pa.concat_arrays([*column.chunks, pa.array([], column.type)])], column.type)
