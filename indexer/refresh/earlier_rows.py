"""The products of an earlier version, in which those of a later one are found, thousands at a time.

Letters: M products, K of a batch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexer.catalogue.catalogue_writer import TEXT_HASHES, TEXT_HASHES_FILE, values_of
from indexer.catalogue.ordered_search import OrderedSearch
from indexer.catalogue.product_file import PRODUCTS_FILE, ProductFile
from indexer.catalogue.product_ids import ProductIds, mapped_array
from indexer.store.product_table import ProductTable
from indexer.store.table_schema import TEXT_HASH
from indexer.versions.version import StoreVersion
from ubm_embed.data.arrays import BoolArray


class EarlierRows:
    """Products by id, with the hashes of their texts. Takes 8 bytes a product beside what is mapped.

    Args:
        search: for their ids.
        text_hashes: of their texts: [M].
    """

    def __init__(self, search: OrderedSearch, text_hashes: NDArray[Any]) -> None:
        self._search, self._text_hashes = search, text_hashes

    @classmethod
    def open(cls, table: ProductTable, version: StoreVersion, folder: Path) -> Self | None:
        """The products of a version; None of one whose files or hashes are those of older software.

        Raises:
            InvalidData: a file is missing or damaged.
        """
        if version.layout < 2:
            return None
        text_hashes = _text_hashes(table, version, folder)
        if text_hashes is None:
            return None
        ids = ProductIds(folder, ProductFile(folder / PRODUCTS_FILE, version.products))
        return cls(OrderedSearch(ids), text_hashes)

    def find(self, product_ids: pa.Array) -> tuple[NDArray[np.int32], NDArray[np.uint64]]:
        """The position of each id, -1 where it is not among them, and its hash: [K] each."""
        positions, hashes = self._search.find(product_ids)
        return positions.astype(np.int32), hashes

    def have_texts(self, positions: NDArray[np.int32], text_hashes: NDArray[Any]) -> BoolArray:
        """Whether the product at each position has the text with this hash; not where the position is -1: [K]."""
        before = self._text_hashes[np.maximum(positions, 0)] if self._text_hashes.size else np.zeros_like(text_hashes)
        words = (hashes.view("<u8").reshape(-1, 2) for hashes in (before, np.ascontiguousarray(text_hashes)))
        same: BoolArray = np.equal(*words).all(axis=1) & (positions >= 0)
        return same


def _text_hashes(table: ProductTable, version: StoreVersion, folder: Path) -> NDArray[Any] | None:
    """The text hashes of a version from its file, or from the table; None if neither has them."""
    if TEXT_HASHES_FILE in version.files:
        return mapped_array(folder / TEXT_HASHES_FILE, TEXT_HASHES, version.products)
    snapshot = table.snapshot(version.table_version)
    if TEXT_HASH not in snapshot.schema.names:
        return None
    parts = (values_of(batch.column(TEXT_HASH), TEXT_HASHES) for batch in snapshot.hash_batches())
    return np.concatenate([np.empty(0, TEXT_HASHES), *parts])
