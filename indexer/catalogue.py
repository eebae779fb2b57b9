"""A version's products in memory, in the order of its index: what an id means and what a match shows."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from indexer.table import POPULARITY
from ubm_embed.data.corpus import products_of
from ubm_embed.data.session import Product
from ubm_embed.errors import InvalidData

IDS_FILE = "ids.parquet"


class Catalogue:
    """Products by position: the row of the index that holds their vector.

    Attributes:
        frame: product_id, title, category, attributes, popularity and the shop's further columns.
        positions: each product's position by its id.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame
        self.positions: dict[str, int] = {name: row for row, name in enumerate(frame["product_id"])}

    @classmethod
    def of(cls, frame: pl.DataFrame, product_ids: pl.Series, *, file: Path) -> Catalogue:
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

    def products(self, positions: Iterable[int]) -> dict[int, Product]:
        """Products as the model reads them, by position."""
        wanted = sorted(set(positions))
        return dict(zip(wanted, products_of(self.frame[wanted]), strict=True))

    def rows(self, positions: Iterable[int]) -> dict[int, dict[str, Any]]:
        """All that a match shows of a product, by position: every column but its attributes and popularity."""
        wanted = sorted(set(positions))
        shown = self.frame.select(pl.exclude("attributes", POPULARITY))
        return dict(zip(wanted, shown[wanted].iter_rows(named=True), strict=True))

    @cached_property
    def popular(self) -> NDArray[np.int64]:
        """Positions of the products that anybody ever chose, the most popular first, then by id."""
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
