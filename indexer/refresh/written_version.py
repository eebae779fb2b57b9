"""The rows of a new version of the table: read once, to write its files of products and to compare it with others.

Letters: M products, K of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexer.catalogue.catalogue_writer import TEXT_HASHES, hash_ids, values_of, write_catalogue
from indexer.catalogue.product_file import PRODUCTS_FILE, ProductFile
from indexer.catalogue.product_ids import ID_HASHES_FILE, ID_POSITIONS_FILE, mapped_array
from indexer.refresh.earlier_rows import EarlierRows
from indexer.refresh.row_signatures import Signatures, row_signatures
from indexer.store.table_schema import ROW_HASH, TEXT_HASH
from indexer.store.table_snapshot import TableSnapshot
from ubm_embed.data.arrays import BoolArray, IntArray

_NOWHERE = np.empty(0, np.int32)


@dataclass(frozen=True)
class RowOrigins:
    """Where the products of a version were in the one before.

    Attributes:
        positions: where each was there, by its id; -1 if it is new: [M].
        same_text: whether it has the text, and so the vector, that it had there: [M].
    """

    positions: NDArray[np.int32]
    same_text: BoolArray

    @property
    def kept(self) -> NDArray[np.int32]:
        """Where the vector of each was there; -1 if it is new or another one: [M]."""
        return np.where(self.same_text, self.positions, np.int32(-1))

    def new_positions(self, count: int) -> NDArray[np.int32]:
        """Where each of the earlier version's `count` vectors is now, -1 if it is gone."""
        now = np.full(count, -1, np.int32)
        known = np.flatnonzero(self.same_text)
        now[self.positions[known]] = known
        return now

    def now_at(self, earlier: IntArray) -> IntArray:
        """Where products at these positions of the earlier version are now, by their ids; -1 if they are gone."""
        rows = np.flatnonzero(np.isin(self.positions, earlier))
        order = np.argsort(self.positions[rows])
        before = self.positions[rows[order]]
        ranks = np.minimum(np.searchsorted(before, earlier), max(before.size - 1, 0))
        if not before.size:
            return np.full(earlier.shape, -1)
        now: IntArray = np.where(before[ranks] == earlier, rows[order[ranks]], -1)
        return now


@dataclass(frozen=True)
class WrittenVersion:
    """What one pass over the rows of a version found.

    Attributes:
        rows: M.
        distinct_ids: how many ids there are.
        signatures: of the rows: [M]. None if the table has no hashes.
        origins: of the rows; None without an earlier version to compare with.
    """

    rows: int
    distinct_ids: int
    signatures: Signatures | None
    origins: RowOrigins | None

    @classmethod
    def write(cls, folder: Path, snapshot: TableSnapshot, earlier: EarlierRows | None) -> WrittenVersion:
        """Write the files of products of a version of the table, in its order.

        Raises:
            InvalidData: the table is damaged.
            OSError: the disk is full, or the like.
        """
        schema = snapshot.hashed_schema
        comparison = _Comparison(earlier, hashed={TEXT_HASH, ROW_HASH} <= set(schema.names))
        batches = comparison.watched(snapshot.row_batches(with_hashes=True))
        rows = write_catalogue(folder, schema, batches, hashes_of=comparison.id_hashes)
        return cls(rows, _distinct_ids(folder, rows), comparison.signatures, comparison.origins)


class _Comparison:
    """Looks at the batches that pass, and then knows the hashes of their ids, most of them from the earlier version."""

    def __init__(self, earlier: EarlierRows | None, *, hashed: bool) -> None:
        self._earlier, self._hashed = (earlier if hashed else None), hashed
        self._signatures: list[Signatures] = []
        self._positions: list[NDArray[np.int32]] = []
        self._same_text: list[BoolArray] = []
        self._ahead = np.empty(0, np.uint64)  # of the ids of products that passed, but are not written yet

    def watched(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            ids = batch.column("product_id")
            positions, hashes = self._earlier.find(ids) if self._earlier else (_NOWHERE, hash_ids(ids))
            self._ahead = np.concatenate([self._ahead, hashes])
            if self._hashed:
                texts = values_of(batch.column(TEXT_HASH), TEXT_HASHES)
                self._signatures.append(row_signatures(hashes, texts, values_of(batch.column(ROW_HASH), hashes.dtype)))
                self._compare(positions, texts)
            yield batch

    def _compare(self, positions: NDArray[np.int32], texts: NDArray[Any]) -> None:
        if self._earlier is not None:
            self._positions.append(positions)
            self._same_text.append(self._earlier.have_texts(positions, texts))

    def id_hashes(self, product_ids: pa.Array) -> NDArray[np.uint64]:
        """An `IdHashes` for the products that passed."""
        hashes, self._ahead = self._ahead[: len(product_ids)], self._ahead[len(product_ids) :]
        return hashes

    @property
    def signatures(self) -> Signatures | None:
        return np.concatenate([np.empty(0, np.uint64), *self._signatures]) if self._hashed else None

    @property
    def origins(self) -> RowOrigins | None:
        if self._earlier is None:
            return None
        positions = np.concatenate([np.empty(0, np.int32), *self._positions])
        return RowOrigins(positions, np.concatenate([np.empty(0, bool), *self._same_text]))


def _distinct_ids(folder: Path, rows: int) -> int:
    """How many ids the files of products have. Only ids whose hashes are equal are read."""
    hashes: NDArray[Any] = mapped_array(folder / ID_HASHES_FILE, np.dtype("<u8"), rows)
    repeated = np.flatnonzero(hashes[1:] == hashes[:-1])
    if not repeated.size:
        return rows
    ranks = np.union1d(repeated, repeated + 1)
    positions = mapped_array(folder / ID_POSITIONS_FILE, np.dtype("<u4"), rows)[ranks].tolist()
    ids = ProductFile(folder / PRODUCTS_FILE, rows).values("product_id", positions)
    return rows - len(ids) + len(set(ids))
