"""The products that are live, as a catalogue is compared with them: hashes by position, mapped from files.

A product that a patch or a revision speaks of has an entry, which counts instead of the row of the table.

Letters: M rows of the table, E entries, K products of a catalogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from indexer.catalogue.catalogue_writer import TEXT_HASHES, values_of
from indexer.catalogue.ordered_search import OrderedSearch
from indexer.revisions.layer import Layer
from indexer.revisions.overlay import Overlay
from indexer.revisions.segment import ROW_DELETED
from indexer.revisions.version_rows import VersionRows
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.table_schema import POPULARITY, ROW_HASH, TEXT_HASH
from indexer.versions.live import Live, read_live
from indexer.versions.revision import Revision
from indexer.versions.version import StoreVersion, read_version
from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray
from ubm_embed.errors import InvalidData

NOWHERE = -1
_NUMBERS = {ROW_HASH: np.dtype("<u8"), POPULARITY: np.dtype("<i8"), TEXT_HASH: TEXT_HASHES}


@dataclass(frozen=True)
class Matched:
    """Products found among the live ones.

    Attributes:
        rows: of the same ids in the table, -1 for others: [K].
        entries: of the same ids, -1 for others: [K].
    """

    rows: NDArray[np.int32]
    entries: NDArray[np.int32]

    @classmethod
    def joined(cls, parts: Sequence[Matched]) -> Matched:
        """Those of several batches."""
        rows, entries = (np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "entries"))
        return cls(rows, entries)

    def part(self, indices: slice) -> Matched:
        """Only some of them."""
        return Matched(self.rows[indices], self.entries[indices])


class LiveRows:
    """The live products.

    Attributes:
        known: contents of live.json.
        version: that is live.
        table: the rows of the table that the version has, without a patch and a revision: [M].
        overlay: the version under its patch and its revision.
        popularity: of the products of the table, as they are live: [M].
        schema: columns of the table and their types.
        has_hashes: whether the table has hashes; older software wrote none.
    """

    def __init__(
        self, known: Live, version: StoreVersion, table: VersionRows, live: VersionRows, schema: pl.Schema
    ) -> None:
        self.known, self.version, self.table, self.schema = known, version, table, schema
        self.overlay: Overlay = live.overlay
        self.popularity = live.popularity[: len(table)]
        self.has_hashes = TEXT_HASH in schema

    @classmethod
    def open(cls, store: EmbeddingStore) -> Self:
        """The products that are live.

        Raises:
            InvalidData: live.json, the version, its revision or the table is missing or damaged.
        """
        while True:
            known = read_live(store)
            try:
                return cls._open(store, known)
            except InvalidData:
                # A later revision may have merged the segments of this one, which are then removed.
                if read_live(store) == known:
                    raise

    @classmethod
    def _open(cls, store: EmbeddingStore, known: Live) -> Self:
        version = read_version(store, known.version)
        shares = version.files_version != version.version
        table = VersionRows.open(store, read_version(store, version.files_version) if shares else version)
        live = VersionRows.open(store, version, known.revision) if shares or known.revision else table
        schema = pl.DataFrame(pl.from_arrow(store.table.schema(version.table_version).empty_table())).schema
        return cls(known, version, table, live, schema)

    def __len__(self) -> int:
        """M."""
        return len(self.table)

    @property
    def revision(self) -> Revision | None:
        """Of the version; None without one."""
        return self.known.revision

    @property
    def entries(self) -> Layer:
        """The products that a patch or the revision speaks of: [E]."""
        return self.overlay.whole

    def entry_values(self, column: str) -> NDArray[Any]:
        """A column of hashes or popularity of the entries, 0 for missing values: [E]."""
        dtype = _NUMBERS[column]
        return (
            values_of(self.entries.columns[column], dtype)
            if column in self.entries.columns
            else np.zeros(len(self.entries), dtype)
        )

    @cached_property
    def entry_deleted(self) -> BoolArray:
        """Which entries are tombstones: [E]."""
        deleted: BoolArray = self.entries.columns[ROW_DELETED].to_numpy(zero_copy_only=False)
        return deleted

    def match(self, product_ids: pl.Series) -> tuple[Matched, NDArray[np.uint64]]:
        """Find products by their ids, and the hashes of these: [K] each."""
        found, hashes = self._search.find(product_ids.to_arrow())
        rows = found.astype(np.int32)
        entries = np.full(rows.size, NOWHERE, np.int32)
        if len(self.entries):
            order, positions = self._by_position
            ranks = np.minimum(np.searchsorted(positions, rows), max(order.size - 1, 0))
            if order.size:
                entries = np.where((positions[ranks] == rows) & (rows >= 0), order[ranks], NOWHERE).astype(np.int32)
            new = np.flatnonzero(rows < 0)
            entries[new] = [self.entries.index.get(name, NOWHERE) for name in product_ids.gather(new)]
        return Matched(rows, entries), hashes

    def known_texts(self, matched: Matched, row_hashes: NDArray[np.uint64]) -> tuple[NDArray[Any], BoolArray]:
        """Hashes of the texts of products whose rows are known, and which these are: [K, 16 bytes] and [K].

        The hash of a row is one of all columns, so equal rows have equal texts.
        """
        texts, known = np.zeros(row_hashes.size, TEXT_HASHES), np.zeros(row_hashes.size, bool)
        if not self.has_hashes:
            return texts, known
        in_table = (matched.rows, self.table.row_hashes, self.table.text_hashes)
        for at, rows, values in (in_table, (matched.entries, *self._entry_hashes)):
            found = np.flatnonzero(at >= 0)
            same = found[rows[at[found]] == row_hashes[found]]
            texts[same], known[same] = values[at[same]], True
        return texts, known

    def in_table(self, matched: Matched, row_hashes: NDArray[np.uint64]) -> BoolArray:
        """Which products are as the table has them, popularity aside: [K]."""
        same: BoolArray = (matched.rows >= 0) & (self.table.row_hashes[np.maximum(matched.rows, 0)] == row_hashes)
        return same & self.has_hashes

    def live_values(self, matched: Matched) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Position, hash of the text, hash of the row and popularity of products as they are live; -1 if not: [K]."""
        positions, rows = matched.rows.astype(np.int64), np.maximum(matched.rows, 0)
        texts, hashes, popularity = self.table.text_hashes[rows], self.table.row_hashes[rows], self.popularity[rows]
        has_entry = np.flatnonzero(matched.entries >= 0)
        if has_entry.size:
            chosen = matched.entries[has_entry]
            positions[has_entry] = self.entries.positions[chosen]
            hashes[has_entry], texts[has_entry] = (values[chosen] for values in self._entry_hashes)
            popularity[has_entry] = self._entry_popularity[chosen]
        return positions, texts, hashes, popularity

    def row(self, matched: Matched, product: int, columns: Sequence[str]) -> dict[str, Any]:
        """The values of a live product, one of those that were matched, by column."""
        entry = int(matched.entries[product])
        if entry >= 0:
            return self.entries.values(columns, entry)
        return self.table.store.table.row(self.table.version.table_version, int(matched.rows[product]), columns)

    def missing_from(self, matched: Matched) -> pl.Series:
        """Ids of the live products that are none of those that were matched."""
        left = np.ones(len(self), bool)
        left[matched.rows[matched.rows >= 0]] = False
        left[self.entries.base_positions[self.entries.base_positions >= 0]] = False
        entries = ~self.entry_deleted
        entries[matched.entries[matched.entries >= 0]] = False
        of_entries = self.entries.rows["product_id"].filter(pa.array(entries))
        return pl.concat([self.ids_at(left), pl.Series("product_id", of_entries, dtype=pl.String)])

    def ids_at(self, rows: BoolArray) -> pl.Series:
        """Ids of the rows of the table that are marked, [M], in order."""
        return pl.Series("product_id", self.ids_of(np.flatnonzero(rows)), dtype=pl.String)

    def ids_of(self, rows: IntArray) -> pa.ChunkedArray:
        """Ids of rows of the table: [K]."""
        return self.overlay.base.table(["product_id"]).column(0).take(pa.array(rows))

    def appended_vectors(self, positions: IntArray) -> FloatArray:
        """Vectors at positions that a revision appended: [K] -> [K, D]."""
        return self.overlay.vectors(positions)

    @cached_property
    def _search(self) -> OrderedSearch:
        return self.overlay.base.ordered_search()

    @cached_property
    def _entry_hashes(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Of the rows and the texts of the entries, zero for tombstones: [E] each."""
        return self.entry_values(ROW_HASH), self.entry_values(TEXT_HASH)

    @cached_property
    def _entry_popularity(self) -> NDArray[Any]:
        return self.entry_values(POPULARITY)

    @cached_property
    def _by_position(self) -> tuple[IntArray, IntArray]:
        """Entries of products of the table, and their rows there, by row."""
        found = np.flatnonzero(self.entries.base_positions >= 0)
        order = found[np.argsort(self.entries.base_positions[found])]
        return order, self.entries.base_positions[order]
