"""A version's products where they are, read as they are asked for: for catalogues that are larger than the memory."""

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
        self._filters = Filters(len(table), self._positions_where)

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
        wanted = sorted(set(positions))
        return dict(zip(wanted, iter_products(self._table.rows(np.array(wanted), list(PRODUCT_SCHEMA))), strict=True))

    def rows(self, positions: Iterable[int]) -> dict[int, dict[str, Any]]:
        """As `Catalogue`."""
        wanted = sorted(set(positions))
        shown = [name for name in self._table.schema.names if name not in (*ADDED_COLUMNS, "attributes")]
        return dict(zip(wanted, self._table.rows(np.array(wanted), shown).iter_rows(named=True), strict=True))

    def values(self, column: str, positions: IntArray) -> Sequence[Any]:
        """As `Catalogue`."""
        return self._table.rows(positions, [column])[column].to_list()

    def allowed(self, where: str) -> NDArray[np.bool_]:
        """As `Catalogue`."""
        return self._filters.allowed(where)

    def _positions_where(self, condition: str) -> IntArray:
        # First of no rows, and of the shop's own columns: what is wrong then is wrong with the condition.
        self._empty.positions_where(condition)
        return self._table.scan(condition)[POSITION].to_numpy()

    @cached_property
    def _empty(self) -> MemoryTable:
        return MemoryTable(self._table.schema.empty_table().select(self.columns))

    @cached_property
    def popular(self) -> NDArray[np.int64]:
        """As `Catalogue`; read when it is asked for first."""
        known = self._table.scan(f"{POPULARITY} > 0", ["product_id", POPULARITY])
        order = known.sort([POPULARITY, "product_id"], descending=[True, False])
        return order[POSITION].to_numpy()
