"""Copies in memory of the columns that conditions name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa

from indexer.catalogue.condition import columns_named
from indexer.catalogue.single_flight_cache import SingleFlightCache
from indexer.store.memory_table import MemoryTable
from ubm_embed.data.arrays import IntArray

# A number of ten million products takes 80 MB.
_MAX_BYTES = 2**28
# A condition with a hundred patterns takes three seconds for a million titles.
_MAX_SECONDS = 10.0


class Columns(Protocol):
    """Products by column."""

    schema: pa.Schema

    def table(self, columns: Sequence[str]) -> pa.Table:
        """All values of these columns."""


class ColumnCopies:
    """Evaluates conditions over products. The copies that were used last are kept."""

    def __init__(self, products: Columns) -> None:
        self._products = products
        self._copies = SingleFlightCache[tuple[str, ...], MemoryTable](_MAX_BYTES, lambda copy: copy.nbytes)

    def positions_where(self, condition: str) -> IntArray:
        """Positions of the products that satisfy a condition in LanceDB's SQL: [K]. Its errors are LanceDB's own.

        Raises:
            TimeoutError: the condition takes more than 10 seconds.
        """
        names = tuple(columns_named(condition, self._products.schema.names)) or ("product_id",)
        copy = self._copies.get(names, lambda: MemoryTable(self._products.table(names)))
        return copy.positions_where(condition, _MAX_SECONDS)
