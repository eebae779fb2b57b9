"""Some changed products in memory, in the columns of the catalogue, each with its position.

Letters: K rows, M products of the base.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexer.catalogue.column_copies import ColumnCopies
from indexer.catalogue.filters import Filters
from indexer.catalogue.product_file import as_python, python_row
from indexer.store.table_schema import POPULARITY
from ubm_embed.data.arrays import BoolArray, IntArray
from ubm_embed.data.arrow_arrays import numbers, taken

# For the selections over the rows of a layer.
_CACHE_BYTES = 2**23
NOWHERE = -1


class Layer:
    """Changed products, one row each. It never changes, so it may be kept and shared between threads.

    Attributes:
        rows: as of a segment, without vectors, and with the popularity of each: [K].
        positions: of the products; -1 for those that are deleted: [K].
        base_positions: of the same ids in the base; -1 for new ones: [K].
    """

    def __init__(self, rows: pa.Table, positions: NDArray[np.int64], base_positions: NDArray[np.int64]) -> None:
        self.rows = rows
        self.positions = positions
        self.base_positions = base_positions

    def __len__(self) -> int:
        """K."""
        return int(self.positions.size)

    @cached_property
    def index(self) -> Mapping[str, int]:
        """The row of each id."""
        return {name: row for row, name in enumerate(self.rows["product_id"].to_pylist())}

    def rows_of(self, names: Iterable[str]) -> IntArray:
        """The rows of those of the products that it has."""
        rows = (self.index.get(name) for name in names)
        return np.array([row for row in rows if row is not None], np.int64)

    def rows_at(self, positions: IntArray) -> IntArray:
        """The rows of the products at these positions, -1 for those that are elsewhere: [N]."""
        order, ordered = self._by_position
        if not order.size:
            return np.full(len(positions), NOWHERE)
        ranks = np.minimum(np.searchsorted(ordered, positions), order.size - 1)
        return np.where(ordered[ranks] == positions, order[ranks], NOWHERE)

    def value(self, column: str, row: int) -> Any:
        """The value of a column in a row, as Python has it."""
        return as_python(self.columns[column][row])

    def values(self, columns: Sequence[str], row: int) -> dict[str, Any]:
        """The values of these columns in a row, as Python has them."""
        return python_row(self.columns, columns, row)

    @cached_property
    def columns(self) -> Mapping[str, pa.Array]:
        """Each column as one array."""
        return {name: _one_array(self.rows[name]) for name in self.rows.column_names}

    def where(self, condition: str) -> BoolArray:
        """Which rows satisfy a condition; tombstones may: [K].

        Raises:
            InvalidData: the condition is invalid.
        """
        return self._filters.where(condition).mask

    def take(self, rows: IntArray) -> Layer:
        """Only these rows, in this order."""
        return Layer(taken(self.rows, rows), self.positions[rows], self.base_positions[rows])

    def without(self, names: Iterable[str]) -> Layer:
        """The rows of other products than these."""
        dropped = self.rows_of(names)
        return self.take(np.delete(np.arange(len(self)), dropped)) if dropped.size else self

    def followed_by(self, later: Layer) -> Layer:
        """The rows of both; of a product that both have, the later."""
        if not len(self):
            return later
        kept = self.without(later.index)
        return Layer(
            pa.concat_tables([kept.rows, later.rows]).combine_chunks(),
            np.concatenate([kept.positions, later.positions]),
            np.concatenate([kept.base_positions, later.base_positions]),
        )

    @cached_property
    def _by_position(self) -> tuple[IntArray, IntArray]:
        """The rows that have a position, and these, by position."""
        rows = np.flatnonzero(self.positions != NOWHERE)
        order = rows[np.argsort(self.positions[rows])]
        return order, self.positions[order]

    @cached_property
    def _filters(self) -> Filters:
        return Filters(len(self), ColumnCopies(_Columns(self.rows)).positions_where, (), _CACHE_BYTES)


class _Columns:
    """The rows as `ColumnCopies` reads them, which must not refer back to the layer that keeps it."""

    def __init__(self, rows: pa.Table) -> None:
        self.schema = rows.schema
        self._rows = rows

    def table(self, columns: Sequence[str]) -> pa.Table:
        return self._rows.select(list(columns))


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays([*column.chunks, pa.nulls(0, column.type)])


def with_popularity(rows: pa.Table, schema: pa.Schema, counts: IntArray) -> pa.Table:
    """Rows of a segment with the popularity of each, if the products of a schema have one."""
    at = schema.get_field_index(POPULARITY)
    if at < 0:
        return rows
    return rows.append_column(POPULARITY, numbers(counts, schema.field(at).type))
