"""The products of an earlier version, in which those of a later one are found, thousands at a time.

Letters: M products, K of a batch.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from indexer.catalogue.catalogue_writer import TEXT_HASHES, TEXT_HASHES_FILE, values_of
from indexer.catalogue.product_file import PRODUCTS_FILE, ProductFile
from indexer.catalogue.product_ids import ID_HASHES_FILE, ID_POSITIONS_FILE, mapped_array
from indexer.store.product_table import ProductTable
from indexer.store.table_schema import TEXT_HASH
from indexer.versions.version import StoreVersion
from ubm_embed.data.arrays import BoolArray

_ROWS_AT_ONCE = 65_536


class EarlierRows:
    """Products by id, with the hashes of their ids and texts. Takes 20 bytes a product.

    Attributes:
        id_hashes: of each id, as `indexer.catalogue.id_hashes` makes them: [M].
    """

    def __init__(self, ids: pa.ChunkedArray, id_hashes: NDArray[np.uint64], text_hashes: NDArray[Any]) -> None:
        self._ids, self.id_hashes, self._text_hashes = ids, id_hashes, text_hashes
        self._seed = secrets.randbits(63)  # hashes that nobody can prepare ids for
        parts = [self._hashed(ids.slice(first, _ROWS_AT_ONCE)) for first in range(0, len(ids), _ROWS_AT_ONCE)]
        hashes = np.concatenate([np.empty(0, np.uint64), *parts])
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._positions = hashes[order], order.astype(np.int32)

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
        count = version.products
        ids = ProductFile(folder / PRODUCTS_FILE, count).column("product_id")
        by_hash = mapped_array(folder / ID_HASHES_FILE, np.dtype("<u8"), count)
        id_hashes = np.empty(count, np.uint64)
        id_hashes[mapped_array(folder / ID_POSITIONS_FILE, np.dtype("<u4"), count)] = by_hash
        return cls(ids, id_hashes, text_hashes)

    def __len__(self) -> int:
        return len(self._ids)

    def find(self, product_ids: pa.Array) -> NDArray[np.int32]:
        """The position of each id, -1 where it is not among them: [K]."""
        if not self._hashes.size:
            return np.full(len(product_ids), -1, np.int32)
        wanted = self._hashed(product_ids)
        ranks, order = np.empty(wanted.size, np.int64), np.argsort(wanted)
        # In order they are found in a quarter of the time: each is near to the one before.
        ranks[order] = np.minimum(np.searchsorted(self._hashes, wanted[order]), self._hashes.size - 1)
        positions = np.where(self._hashes[ranks] == wanted, self._positions[ranks], np.int32(-1))
        hits = np.flatnonzero(positions >= 0)
        positions[hits[~self._has_ids(positions[hits], product_ids.take(pa.array(hits)))]] = -1
        return positions

    def have_texts(self, positions: NDArray[np.int32], text_hashes: NDArray[Any]) -> BoolArray:
        """Whether the product at each position has the text with this hash; not where the position is -1: [K]."""
        before = self._text_hashes[np.maximum(positions, 0)] if len(self) else np.zeros_like(text_hashes)
        words = (hashes.view("<u8").reshape(-1, 2) for hashes in (before, np.ascontiguousarray(text_hashes)))
        same: BoolArray = np.equal(*words).all(axis=1) & (positions >= 0)
        return same

    def _has_ids(self, positions: NDArray[np.int32], product_ids: pa.Array) -> BoolArray:
        """Whether these ids stand at these positions. Rows are nearly in order, so few others are read."""
        if not positions.size:
            return np.empty(0, bool)
        first, last = int(positions.min()), int(positions.max())
        around = self._ids.slice(first, last - first + 1).combine_chunks()
        there = around.take(pa.array(positions - np.int32(first)))
        equal: BoolArray = pc.equal(there, product_ids.cast(there.type)).to_numpy(zero_copy_only=False)
        return equal

    def _hashed(self, product_ids: pa.Array | pa.ChunkedArray) -> NDArray[np.uint64]:
        return pl.Series(product_ids, dtype=pl.String).hash(self._seed).to_numpy()


def _text_hashes(table: ProductTable, version: StoreVersion, folder: Path) -> NDArray[Any] | None:
    """The text hashes of a version from its file, or from the table; None if neither has them."""
    if TEXT_HASHES_FILE in version.files:
        return mapped_array(folder / TEXT_HASHES_FILE, TEXT_HASHES, version.products)
    snapshot = table.snapshot(version.table_version)
    if TEXT_HASH not in snapshot.schema.names:
        return None
    parts = (values_of(batch.column(TEXT_HASH), TEXT_HASHES) for batch in snapshot.hash_batches())
    return np.concatenate([np.empty(0, TEXT_HASHES), *parts])
