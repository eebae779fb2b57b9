"""A version's products in memory, in the order of its index: what an id means and what a match shows."""

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
from ubm_embed.data.session import Product
from ubm_embed.errors import InvalidData

IDS_FILE = "ids.parquet"


class Catalogue(Protocol):
    """Products by position: the row of the index that holds their vector."""

    def __len__(self) -> int: ...

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns that rules may name."""

    def find(self, product_ids: Iterable[str]) -> Mapping[str, int]:
        """Positions of the products that there are, by their ids."""

    def products(self, positions: Iterable[int]) -> dict[int, Product]:
        """Products as the model reads them, by position."""

    def rows(self, positions: Iterable[int]) -> dict[int, dict[str, Any]]:
        """All that a match shows of a product, by position: every column but its attributes and popularity."""

    def values(self, column: str, positions: IntArray) -> Sequence[Any]:
        """A column's values at these positions."""

    def allowed(self, where: str) -> NDArray[np.bool_]:
        """Which products satisfy a condition: [M]. Do not write to it.

        Raises:
            InvalidData: not a condition over the columns there are; says what is wrong with it.
        """

    @property
    def popular(self) -> NDArray[np.int64]:
        """Positions of the products that anybody ever chose, the most popular first, then by id."""


class CatalogueInMemory:
    """A `Catalogue` that holds all of it: what happens to the store does not disturb it.

    Attributes:
        frame: product_id, title, category, attributes, popularity and the shop's further columns.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        # In one piece: of many, polars puts a whole column of lists together each time that a few rows are asked for.
        self.frame = frame.rechunk()
        self._positions: dict[str, int] = {name: row for row, name in enumerate(frame["product_id"])}
        self._filters = Filters(frame.height, self._positions_where)

    @classmethod
    def of(cls, frame: pl.DataFrame, product_ids: pl.Series, *, file: Path) -> CatalogueInMemory:
        """The rows of `frame` in the order of an index's ids.

        Raises:
            InvalidData: names `file`, where the ids came from: they are not those of the frame.
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
        wanted = sorted(set(positions))
        return dict(zip(wanted, iter_products(self.frame[wanted]), strict=True))

    def rows(self, positions: Iterable[int]) -> dict[int, dict[str, Any]]:
        """As `Catalogue`."""
        wanted = sorted(set(positions))
        shown = self.frame.select(pl.exclude("attributes", POPULARITY))
        return dict(zip(wanted, shown[wanted].iter_rows(named=True), strict=True))

    def values(self, column: str, positions: IntArray) -> Sequence[Any]:
        """As `Catalogue`."""
        return self.frame[column].gather(positions).to_list()

    def allowed(self, where: str) -> NDArray[np.bool_]:
        """As `Catalogue`, over a copy that is made when the first condition comes."""
        return self._filters.allowed(where)

    def _positions_where(self, condition: str) -> IntArray:
        return self._queryable.positions_where(condition)

    @cached_property
    def _queryable(self) -> MemoryTable:
        """Not the table in the store: a reader holds its version for as long as it likes, also once that is pruned."""
        return MemoryTable(self.frame.to_arrow())

    @cached_property
    def popular(self) -> NDArray[np.int64]:
        """As `Catalogue`."""
        known = self.frame.select("product_id", POPULARITY).with_row_index("position").filter(pl.col(POPULARITY) > 0)
        ranked = known.sort(POPULARITY, "product_id", descending=[True, False])
        return ranked["position"].cast(pl.Int64).to_numpy()


def write_ids(file: Path, product_ids: pl.Series) -> None:
    """Write the id of each row of an index."""
    product_ids.to_frame("product_id").write_parquet(file)


def read_ids(file: Path) -> pl.Series:
    """The ids that `write_ids` wrote.

    Raises:
        InvalidData: the file is missing or damaged.
    """
    try:
        frame = pl.read_parquet(file, columns=["product_id"])
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidData(f"missing or damaged: {str(error).splitlines()[0]}", file=file) from None
    return frame["product_id"].cast(pl.String)
