"""A version's products in the order of its index: what a position stands for, and what a match shows of it.

Letters: M products.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from indexer.index.selection import Selection
from ubm_embed.data.arrays import IntArray
from ubm_embed.data.ids import clean_id
from ubm_embed.data.session import Product, encodable


class Catalogue(Protocol):
    """Products by position: the row of the index that holds their vector. Several threads may ask at once.

    Raises:
        InvalidData: from any method: a file of the version is damaged.
    """

    def __len__(self) -> int: ...

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns that rules may name."""

    @property
    def visible(self) -> Selection | None:
        """The positions that have a product; None if all do. Only they may be found or shown."""

    def revised(self, product_id: str) -> Hashable | None:
        """What a revision made of the product of an id, which is as it was written (see `find_products`).

        None if its text and its position are those of the version as it was published; else a value that changes with
        its text, its position and its being deleted.
        """

    def revised_rows(self, positions: Iterable[int]) -> Set[int]:
        """Those of some positions whose rows are a revision's; the others are as in the version's files."""

    def find(self, product_ids: Iterable[str]) -> Mapping[str, int]:
        """Positions by product id, of the products that the version has."""

    def products(self, positions: Iterable[int]) -> dict[int, Product]:
        """Products as the model reads them, by position."""

    def rows(self, positions: Iterable[int]) -> dict[int, dict[str, Any]]:
        """The columns that a match shows, by position: all except attributes and popularity."""

    def values(self, column: str, positions: IntArray) -> Sequence[Any]:
        """A column's values at these positions."""

    def codes(self, column: str) -> NDArray[np.int32]:
        """A number for each product's value in a column: [M]. Equal values have equal numbers, a missing one has -1.

        Do not write to it.
        """

    def where(self, condition: str) -> Selection:
        """The products that satisfy a condition such as `price < 50 AND category LIKE 'Shoes%'`.

        Raises:
            InvalidData: the condition is invalid, or names a column that is not there.
        """

    @property
    def popular(self) -> NDArray[np.int64]:
        """Positions of all products that were ever chosen, the most popular first, then by id. Do not write to it."""

    def require_unchanged(self) -> None:
        """Raise `InvalidData` if a file of the version was cut short or grew since it was opened."""

    def close(self) -> None:
        """Release the files once nothing reads them any more."""


def find_products(catalogue: Catalogue, written: Iterable[str]) -> dict[str, int]:
    """Positions of products by their ids as they were written, such as `17.0` for 17 (see `ubm_embed.data.ids`)."""
    cleaned = {name: clean_id(name) for name in written}
    # As they were written, too: a store of an earlier version may hold ids as its feed wrote them.
    spellings = {*cleaned, *filter(None, cleaned.values())}
    positions = catalogue.find(name for name in spellings if encodable(name) == name)  # no id holds half of a character
    found = {name: positions.get(name, positions.get(clean or "")) for name, clean in cleaned.items()}
    return {name: position for name, position in found.items() if position is not None}
