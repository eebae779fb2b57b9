"""A version's products read from disk when they are needed: for catalogues that are larger than the memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.search.filters import Filters
from indexer.store.memory_table import MemoryTable
from indexer.store.table_schema import ADDED_COLUMNS, POPULARITY
from indexer.store.table_snapshot import POSITION, TableSnapshot
from ubm_embed.data.arrays import IntArray
from ubm_embed.data.corpus import PRODUCT_SCHEMA, iter_products
from ubm_embed.data.session import Product


class CatalogueOnDisk:
    """A `Catalogue` over the table itself. It lasts as long as the store keeps the version.

    Raises:
        InvalidData: from any method: the version was removed, or the table is damaged.
    """

    def __init__(self, table: TableSnapshot) -> None:
        self._table = table
        self._filters = Filters(len(table), self._positions_where, self.columns)

    def __len__(self) -> int:
        return len(self._table)

    @property
    def columns(self) -> list[str]:
        """As `Catalogue`."""
        return [name for name in self._table.schema.names if name not in ADDED_COLUMNS or name == POPULARITY]

    def find(self, product_ids: Iterable[str]) -> Mapping[str, int]:
        """As `Catalogue`."""
        return self._table.find(product_ids)

    def products(self, positions: Iterable[int]) -> dict[int, Product]:
        """As `Catalogue`."""
        rows = sorted(set(positions))
        return dict(zip(rows, iter_products(self._table.rows(np.array(rows), list(PRODUCT_SCHEMA))), strict=True))

    def rows(self, positions: Iterable[int]) -> dict[int, dict[str, Any]]:
        """As `Catalogue`."""
        rows = sorted(set(positions))
        columns = [name for name in self._table.schema.names if name not in (*ADDED_COLUMNS, "attributes")]
        return dict(zip(rows, self._table.rows(np.array(rows), columns).iter_rows(named=True), strict=True))

    def values(self, column: str, positions: IntArray) -> Sequence[Any]:
        """As `Catalogue`."""
        return self._table.rows(positions, [column])[column].to_list()

    def allowed(self, where: str) -> NDArray[np.bool_]:
        """As `Catalogue`."""
        return self._filters.allowed(where)

    def _positions_where(self, condition: str) -> IntArray:
        # First over no rows and the shop's own columns: an error there is the condition's, and not of a damaged table.
        self._empty.positions_where(condition)
        return self._table.scan(condition)[POSITION].to_numpy()

    @cached_property
    def _empty(self) -> MemoryTable:
        return MemoryTable(self._table.schema.empty_table().select(self.columns))

    @cached_property
    def popular(self) -> NDArray[np.int64]:
        """As `Catalogue`, read at the first use."""
        counts = self._table.scan(f"{POPULARITY} > 0", ["product_id", POPULARITY])
        ranked = counts.sort([POPULARITY, "product_id"], descending=[True, False])
        return ranked[POSITION].to_numpy()
