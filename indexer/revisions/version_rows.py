"""All products of a version with its revision: what a refresh compares with, what an export writes.

Letters: M products of the base, N positions appended, K rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexer.catalogue.catalogue_writer import (
    ROW_HASHES_FILE,
    TEXT_HASHES,
    TEXT_HASHES_FILE,
    values_of,
)
from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.catalogue.product_ids import mapped_array
from indexer.revisions.layer import NOWHERE
from indexer.revisions.overlay import Overlay
from indexer.revisions.segment import read_patch, read_rows, segment_schema
from indexer.store.embedding_store import EmbeddingStore, version_folder
from indexer.store.table_schema import POPULARITY, ROW_HASH, TEXT_HASH, VECTOR
from indexer.versions.revision import Revision
from indexer.versions.version import PATCH_FILE, StoreVersion
from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray
from ubm_embed.errors import InvalidData

_ROWS_PER_BATCH = 8192
_ROW_HASHES = np.dtype(np.uint64)


@dataclass(frozen=True)
class VersionRows:
    """The products of a version by position, as the overlay has them: [M + N].

    The positions of the base are those of the table and, from layout 2 on, of the index.

    Attributes:
        store: of the version.
        version: the version.
        overlay: its revision.
        text_hashes: of what the model reads: [M + N] of 16 bytes. Zeros if older software wrote them.
        row_hashes: of all columns: [M + N]. Zeros as in `text_hashes`.
        popularity: how often each product was chosen: [M + N].
        alive: the positions that have a product: [M + N].
    """

    store: EmbeddingStore
    version: StoreVersion
    overlay: Overlay
    text_hashes: NDArray[np.void]
    row_hashes: NDArray[np.uint64]
    popularity: NDArray[np.int64]
    alive: BoolArray

    @classmethod
    def open(cls, store: EmbeddingStore, version: StoreVersion, revision: Revision | None = None) -> Self:
        """The products of a version with a revision of it, or as it was published.

        Memory grows by at most 33 bytes for each product if there is a revision; without one the files are mapped.

        Raises:
            InvalidData: a file is missing, truncated or damaged.
        """
        with contextlib.ExitStack() as folders:
            folder = folders.enter_context(_version_folder(store, version.files_version))
            shares = version.files_version != version.version
            own = folders.enter_context(_version_folder(store, version.version)) if shares else folder
            base = _open_base(store, version, folder, own)
            text_hashes, row_hashes = _hashes(store, version, folder)
            schema = segment_schema(base.schema, version.dimension)
            patch = read_patch(own / PATCH_FILE, schema) if PATCH_FILE in version.files else None
        rows = read_rows(store, version.version, revision, schema)
        published = Overlay.of_base(base, version.dimension, patch)
        overlay = published.advanced(rows, revision.number) if revision else published
        return cls._revised(store, version, overlay, text_hashes, row_hashes)

    @classmethod
    def _revised(
        cls,
        store: EmbeddingStore,
        version: StoreVersion,
        overlay: Overlay,
        text_hashes: NDArray[np.void],
        row_hashes: NDArray[np.uint64],
    ) -> Self:
        popularity = _popularity(overlay.base)
        alive = np.ones(len(overlay), bool) if overlay.visible is None else overlay.visible.mask
        if overlay.appended_count:  # others have the texts of the base
            text_hashes = _overlaid(text_hashes, overlay, TEXT_HASH)
        if overlay.rows:
            row_hashes = _overlaid(row_hashes, overlay, ROW_HASH)
            popularity = _overlaid(popularity, overlay, POPULARITY)
        return cls(store, version, overlay, text_hashes, row_hashes, popularity, alive)

    def __len__(self) -> int:
        """M + N."""
        return len(self.overlay)

    @property
    def schema(self) -> pa.Schema:
        """The shop's columns and popularity."""
        return self.overlay.base.schema.remove_metadata()

    def find(self, product_ids: pa.Array) -> NDArray[np.int64]:
        """The position of each id, -1 for those that the version lacks: [K]."""
        found = self.overlay.base.find_all(product_ids)
        known = found != NOWHERE
        found[known] = self.overlay.current(found[known])
        if self.overlay.rows:
            others = np.flatnonzero(~known)
            names = product_ids.take(pa.array(others)).to_pylist()
            found[others] = [NOWHERE if (new := self.overlay.find(name)) is None else new.position for name in names]
        return found

    def batches(self, columns: Sequence[str] | None = None, *, vectors: bool = False) -> Iterator[pa.RecordBatch]:
        """The rows of all products that are alive, by position, some thousands at a time.

        Args:
            columns: of `schema`; None for all.
            vectors: whether `vector` is added.
        """
        names = list(self.schema.names if columns is None else columns)
        table = self.overlay.base.table(names)
        for first, count, part in self._parts(vectors):
            positions = np.arange(first, first + count)
            rows = self._overlaid_rows(table.slice(first, count), positions, names)
            yield from self._alive_rows(rows, positions, part)
        for first in range(self.overlay.base_count, len(self), _ROWS_PER_BATCH):
            positions = np.flatnonzero(self.alive[first : first + _ROWS_PER_BATCH]) + first
            rows = self._revised_rows(positions, names)
            yield from self._alive_rows(rows, positions, self.overlay.vectors(positions) if vectors else None)

    def _parts(self, vectors: bool) -> Iterator[tuple[int, int, FloatArray | None]]:
        """Where parts of the base begin, how many products each has, and their vectors."""
        if not vectors:
            for first in range(0, self.overlay.base_count, _ROWS_PER_BATCH):
                yield first, min(_ROWS_PER_BATCH, self.overlay.base_count - first), None
            return
        first = 0
        for part in self.store.table.vector_batches(self.version.table_version):
            yield first, len(part), part
            first += len(part)

    def _overlaid_rows(self, rows: pa.Table, positions: IntArray, columns: list[str]) -> pa.Table:
        """Rows of the base with those that the revision has instead."""
        numbers = self.overlay.whole.rows_at(positions)
        hits = np.flatnonzero(numbers != NOWHERE)
        if not hits.size:
            return rows
        order = np.arange(len(positions))
        order[hits] = len(positions) + np.arange(hits.size)
        return pa.concat_tables([rows, self._revised_rows(positions[hits], columns)]).take(pa.array(order))

    def _revised_rows(self, positions: IntArray, columns: list[str]) -> pa.Table:
        whole = self.overlay.whole
        return whole.rows.select(columns).take(pa.array(whole.rows_at(positions)))

    def _alive_rows(self, rows: pa.Table, positions: IntArray, vectors: FloatArray | None) -> Iterator[pa.RecordBatch]:
        """Rows at these positions that are alive, with their vectors, as one batch; none if there are none."""
        alive = self.alive[positions]
        if vectors is not None:
            values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
            rows = rows.append_column(VECTOR, values)
        if not alive.all():
            rows = rows.filter(pa.array(alive))
        yield from rows.combine_chunks().to_batches()


@contextlib.contextmanager
def _version_folder(store: EmbeddingStore, number: int) -> Iterator[Path]:
    name = version_folder(number)
    try:
        with store.storage.open_folder(name) as folder:
            yield folder
    except FileNotFoundError as error:
        raise InvalidData("missing; the store is damaged", file=error.filename or f"{store.uri}/{name}") from None


def _open_base(store: EmbeddingStore, version: StoreVersion, folder: Path, own: Path) -> MappedCatalogue:
    if version.layout == 1:  # its index may have another order than the table, where the vectors and hashes are
        snapshot = store.table.snapshot(version.table_version)
        return MappedCatalogue.from_batches(snapshot.row_schema, snapshot.row_batches())
    # Not the other files of the version: its index may be damaged, which nothing here reads.
    return MappedCatalogue.open(folder, version.indexed, own=own)


def _hashes(store: EmbeddingStore, version: StoreVersion, folder: Path) -> tuple[NDArray[np.void], NDArray[np.uint64]]:
    """Hashes of the texts and rows of the base, from its files or the table: [M] each."""
    if (folder / TEXT_HASHES_FILE).is_file():
        text_hashes = mapped_array(folder / TEXT_HASHES_FILE, TEXT_HASHES, version.indexed)
        return text_hashes, mapped_array(folder / ROW_HASHES_FILE, _ROW_HASHES, version.indexed)
    if TEXT_HASH not in store.table.schema(version.table_version).names:
        return np.zeros(version.indexed, TEXT_HASHES), np.zeros(version.indexed, _ROW_HASHES)
    read = store.table.read(version.table_version, [TEXT_HASH, ROW_HASH]).to_arrow()
    return _values(read[TEXT_HASH], TEXT_HASHES), _values(read[ROW_HASH], _ROW_HASHES)


def _popularity(base: MappedCatalogue) -> NDArray[np.int64]:
    if POPULARITY not in base.columns:
        return np.zeros(len(base), np.int64)
    return _values(base.table([POPULARITY])[POPULARITY], np.dtype(np.int64))


def _values(column: pa.ChunkedArray, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *(values_of(chunk, dtype) for chunk in column.chunks)])


def _overlaid(values: NDArray[Any], overlay: Overlay, column: str) -> NDArray[Any]:
    """Values of the base's products with those of a revision: [M] -> [M + N]."""
    whole = overlay.whole
    there = whole.positions != NOWHERE
    overlaid = np.concatenate([values, np.zeros(overlay.appended_count, values.dtype)])
    if column in whole.columns:
        overlaid[whole.positions[there]] = values_of(whole.columns[column], values.dtype)[there]
    return overlaid
