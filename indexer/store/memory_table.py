"""Rows in memory that can be filtered with LanceDB's SQL, as a table can."""

from __future__ import annotations

import math
import time
import uuid
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ubm_embed.data.arrays import IntArray

if TYPE_CHECKING:
    from lance import LanceFragment


# Rows between two looks at the clock, and rows for which LanceDB computes at a time: a hostile condition over the texts
# of products takes 10 seconds for so many rows, and 150 MB for so many at a time.
_FRAGMENT_ROWS, _BATCH_ROWS = 1 << 15, 1 << 11


class MemoryTable:
    """A copy of some rows. It imports lance, so make one only when there is a condition.

    Attributes:
        nbytes: about how much memory it takes.
    """

    def __init__(self, rows: pa.Table) -> None:
        import lance

        self.nbytes: int = rows.nbytes
        rows = pa.table({name: _aligned(column) for name, column in zip(rows.column_names, rows.columns, strict=True)})
        self._dataset = lance.write_dataset(rows, f"memory://{uuid.uuid4().hex}", max_rows_per_file=_FRAGMENT_ROWS)

    def positions_where(self, condition: str, seconds: float = math.inf) -> IntArray:
        """Positions of the rows that satisfy a condition in LanceDB's SQL: [K]. Its errors are LanceDB's own.

        Args:
            seconds: after which it gives up, at the next look at the clock.

        Raises:
            TimeoutError: it gave up.
        """
        deadline = time.monotonic() + seconds
        fragments = self._dataset.get_fragments()
        if not fragments:  # the condition is checked all the same
            return self._positions_in(None, condition)
        parts = []
        for fragment in fragments:
            if time.monotonic() > deadline:
                raise TimeoutError
            parts.append(self._positions_in(fragment, condition))
        return np.concatenate(parts)

    def _positions_in(self, fragment: LanceFragment | None, condition: str) -> IntArray:
        rows = self._dataset.scanner(
            columns=[],
            filter=condition,
            with_row_id=True,
            fragments=None if fragment is None else [fragment],
            batch_size=_BATCH_ROWS,
        ).to_table()
        ids = rows.column("_rowid").to_numpy().astype(np.int64)
        positions: IntArray = (ids >> 32) * _FRAGMENT_ROWS + (ids & 0xFFFFFFFF)
        return positions


def _aligned(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values where LanceDB accepts them: it ends on decimals that a mapped file has at odd multiples of 8."""
    if "decimal" not in str(column.type):
        return column
    return pa.chunked_array([pa.concat_arrays([*column.chunks, pa.array([], column.type)])], column.type)
