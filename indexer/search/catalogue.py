"""A version's products in the order of its index: what a position stands for, and what a match shows of it.

Letters: M products.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from indexer.search.filters import Filters
from indexer.store.memory_table import MemoryTable
from indexer.store.table_schema import POPULARITY
from ubm_embed.data.arrays import IntArray
from ubm_embed.data.corpus import iter_products
from ubm_embed.data.ids import clean_id
from ubm_embed.data.session import Product, encodable
from ubm_embed.errors import InvalidData

IDS_FILE = "ids.parquet"


class Catalogue(Protocol):
    """Products by position: the row of the index that holds their vector."""

    def __len__(self) -> int: ...

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns that rules may name."""

    def find(self, product_ids: Iterable[str]) -> Mapping[str, int]:
        """Positions by product id, of the products that the version has."""

    def products(self, positions: Iterable[int]) -> dict[int, Product]:
        """Products as the model reads them, by position."""

    def rows(self, positions: Iterable[int]) -> dict[int, dict[str, Any]]:
        """The columns that a match shows, by position: all except attributes and popularity."""

    def values(self, column: str, positions: IntArray) -> Sequence[Any]:
        """A column's values at these positions."""

    def allowed(self, where: str) -> NDArray[np.bool_]:
        """Which products satisfy a condition: [M]. Do not write to it.

        Raises:
            InvalidData: the condition is invalid, or names a column that is not there.
        """

    @property
    def popular(self) -> NDArray[np.int64]:
        """Positions of all products that were ever chosen, the most popular first, then by id."""


def find_products(catalogue: Catalogue, written: Iterable[str]) -> dict[str, int]:
    """Positions of products by their ids as they were written, such as `17.0` for 17 (see `ubm_embed.data.ids`)."""
    cleaned = {name: clean_id(name) for name in written}
    # As they were written, too: a store of an earlier version may hold ids as its feed wrote them.
    spellings = {*cleaned, *filter(None, cleaned.values())}
    positions = catalogue.find(name for name in spellings if encodable(name) == name)  # half a character is in no id
    found = {name: positions.get(name, positions.get(clean or "")) for name, clean in cleaned.items()}
    return {name: position for name, position in found.items() if position is not None}


class CatalogueInMemory:
    """A `Catalogue` that holds every row, so that nothing that happens to the store disturbs it.

    Attributes:
        frame: product_id, title, category, attributes, popularity and the shop's further columns.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        # In one chunk: of many, polars joins the whole column of attributes each time that a few rows are read. Five of
        # a million rows took 60 ms in 150 chunks, and 0.03 ms in one.
        self.frame = frame.rechunk()
        self._positions: dict[str, int] = {name: row for row, name in enumerate(frame["product_id"])}
        self._filters = Filters(frame.height, self._positions_where, frame.columns)

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, product_ids: pl.Series, *, file: Path) -> CatalogueInMemory:
        """The catalogue of a table's rows, in the order of an index's ids.

        Raises:
            InvalidData: names `file`, which the ids were read from: the rows have others.
        """
        if frame["product_id"].equals(product_ids):
            return cls(frame)
        ordered = product_ids.to_frame("product_id").join(frame, on="product_id", how="inner", maintain_order="left")
        if not ordered.height == product_ids.len() == frame.height:
            problem = f"{product_ids.len()} ids, of which the table's {frame.height} products have {ordered.height}"
            raise InvalidData(problem, file=file)
        return cls(ordered.select(frame.columns))

    def __len__(self) -> int:
        return self.frame.height

    @property
    def columns(self) -> Sequence[str]:
        """As `Catalogue`."""
        return self.frame.columns

    def find(self, product_ids: Iterable[str]) -> Mapping[str, int]:
        """As `Catalogue`."""
        return {name: self._positions[name] for name in product_ids if name in self._positions}

    def products(self, positions: Iterable[int]) -> dict[int, Product]:
        """As `Catalogue`."""
        rows = sorted(set(positions))
        return dict(zip(rows, iter_products(self.frame[rows]), strict=True))

    def rows(self, positions: Iterable[int]) -> dict[int, dict[str, Any]]:
        """As `Catalogue`."""
        rows = sorted(set(positions))
        columns = self.frame.select(pl.exclude("attributes", POPULARITY))
        return dict(zip(rows, columns[rows].iter_rows(named=True), strict=True))

    def values(self, column: str, positions: IntArray) -> Sequence[Any]:
        """As `Catalogue`."""
        return self.frame[column].gather(positions).to_list()

    def allowed(self, where: str) -> NDArray[np.bool_]:
        """As `Catalogue`, over a copy that is made for the first condition."""
        return self._filters.allowed(where)

    def _positions_where(self, condition: str) -> IntArray:
        return self._queryable.positions_where(condition)

    @cached_property
    def _queryable(self) -> MemoryTable:
        """A copy of the rows: the table in the store may be pruned while this is still searched."""
        return MemoryTable(self.frame.to_arrow())

    @cached_property
    def popular(self) -> NDArray[np.int64]:
        """As `Catalogue`."""
        counts = self.frame.select("product_id", POPULARITY).with_row_index("position")
        ranked = counts.filter(pl.col(POPULARITY) > 0).sort(POPULARITY, "product_id", descending=[True, False])
        return ranked["position"].cast(pl.Int64).to_numpy()


def write_ids(file: Path, product_ids: pl.Series) -> None:
    """Write the product id of each position of an index."""
    product_ids.to_frame("product_id").write_parquet(file)


def read_ids(file: Path) -> pl.Series:
    """The ids that `write_ids` wrote.

    Raises:
        InvalidData: the file is missing or damaged.
    """
    try:
        frame = pl.read_parquet(file, columns=["product_id"], glob=False, hive_partitioning=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidData(f"missing or damaged: {str(error).splitlines()[0]}", file=file) from None
    return frame["product_id"].cast(pl.String)
