"""Rows of a revision made those of a revision of the version that follows.

Letters: K rows, D width.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa

from indexer.refresh.folded_catalogue import in_schema
from indexer.refresh.model_copy import open_model_copy
from indexer.refresh.product_hashes import row_hashes
from indexer.refresh.shards import require_unit_length
from indexer.revisions.compaction import add_rows
from indexer.revisions.segment import ROW_DELETED, ROW_REVISION, last_rows, read_rows, segment_schema
from indexer.revisions.version_rows import VersionRows
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.table_schema import ROW_HASH, TEXT_HASH, VECTOR
from indexer.versions.live import Live
from indexer.versions.revision import Revision
from indexer.versions.version import StoreVersion, read_version
from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray
from ubm_embed.data.arrow_arrays import matrix
from ubm_embed.errors import Conflict
from ubm_embed.inference.embedder import Embedder

_ADDED = (VECTOR, TEXT_HASH)


class CarriedRows:
    """What changed in the live version while another one was made, as a revision of that one.

    Attributes:
        revision: of the new version; None while nothing changed.
    """

    def __init__(self, store: EmbeddingStore, version: StoreVersion, known: Live) -> None:
        self.revision: Revision | None = None
        self._store, self._version = store, version
        self._before, self._read = known.version, known.revision
        self._carried = set[str]()

    def catch_up(self, live: Live) -> None:
        """Take over the rows that are newer than those that were read before.

        Raises:
            Conflict: changes that were read were dropped since.
            InvalidData: a segment, a file of one of the versions or the model is missing or damaged.
            QualityGateFailed: a vector is not of length 1.
        """
        latest = live.revision
        if latest == self._read:
            return
        number = self._read.number if self._read else 0
        if latest is None or not latest.continues(number):
            label = f"version {self._before} of {self._store.uri}"
            raise Conflict(f"changes of {label} were dropped meanwhile; nothing was published")
        rows = last_rows(read_rows(self._store, self._before, latest, self._schema_before, self._read))
        if rows.num_rows and (adapted := self._adapted(rows)).num_rows:
            created = datetime.now(UTC).isoformat(timespec="seconds")
            self.revision = add_rows(self._store, self._version.version, self.revision, adapted, created)
            self._carried.update(adapted["product_id"].to_pylist())
        self._read = latest

    def _adapted(self, rows: pa.Table) -> pa.Table:
        """Rows of the earlier version as those of the new one, without tombstones of what it lacks."""
        positions = self._after.find(rows["product_id"].combine_chunks())
        known = (positions >= 0) | np.array([name in self._carried for name in rows["product_id"].to_pylist()])
        deleted = rows[ROW_DELETED].to_numpy()
        kept = np.flatnonzero(known | ~deleted)
        rows, positions = rows.take(pa.array(kept)), positions[kept]
        vectors = self._vectors(rows, positions)
        number = self.revision.number + 1 if self.revision else 1
        columns = self._columns(rows) | {VECTOR: vectors, ROW_REVISION: pa.array(np.full(len(kept), number))}
        return pa.table({field.name: columns[field.name] for field in self._schema}, schema=self._schema)

    def _columns(self, rows: pa.Table) -> dict[str, pa.ChunkedArray]:
        """The columns of rows in the types of the new version, and the hash of these."""
        columns = {name: rows[name] for name in rows.column_names}
        if self._after.schema.equals(self._earlier.schema):
            return columns
        schema = pl.DataFrame(pl.from_arrow(self._after.overlay.base.schema.empty_table())).schema
        shop = [name for name in schema if name in self._schema.names]
        products = in_schema(pl.DataFrame(pl.from_arrow(rows)), pl.Schema({name: schema[name] for name in shop}))
        deleted = rows[ROW_DELETED].to_numpy()
        hashes = pa.array(row_hashes(products), mask=deleted)
        table = products.to_arrow()
        return columns | {name: table[name].cast(self._schema.field(name).type) for name in shop} | {ROW_HASH: hashes}

    def _vectors(self, rows: pa.Table, positions: IntArray) -> pa.Array:
        """The vector of each row, null where its text is that of the new version's row: [K]."""
        missing = ~rows[ROW_DELETED].to_numpy() & ~self._has_text(rows, positions)
        found = np.zeros((rows.num_rows, self._version.dimension), np.float32)
        own = missing & rows[VECTOR].is_valid().to_numpy()
        if self._same_model:
            found[own] = matrix(rows[VECTOR].filter(pa.array(own)), self._version.dimension)
            base = missing & ~own
            found[base] = self._base_vectors(rows.filter(pa.array(base)))
        else:
            found[missing] = self._encoded(rows.filter(pa.array(missing)))
        values = pa.FixedSizeListArray.from_arrays(
            pa.array(found.ravel()), self._version.dimension, mask=pa.array(~missing)
        )
        return values.cast(self._schema.field(VECTOR).type)

    def _has_text(self, rows: pa.Table, positions: IntArray) -> BoolArray:
        """Which rows have the text of the product of the new version: [K]."""
        texts = rows[TEXT_HASH].to_pylist()
        there = self._after.text_hashes[np.maximum(positions, 0)].tolist()
        pairs = zip(texts, there, positions.tolist(), strict=True)
        return np.array([at >= 0 and text == known for text, known, at in pairs], bool)

    def _base_vectors(self, rows: pa.Table) -> FloatArray:
        """Vectors of products whose texts are those of the earlier version's table: [K, D]."""
        if not rows.num_rows:
            return np.empty((0, self._version.dimension), np.float32)
        positions = self._earlier.overlay.base.find_all(rows["product_id"].combine_chunks())
        return self._store.table.vectors(self._earlier.version.table_version, positions)

    def _encoded(self, rows: pa.Table) -> FloatArray:
        if not rows.num_rows:
            return np.empty((0, self._version.dimension), np.float32)
        products = pl.DataFrame(pl.from_arrow(rows.drop_columns(list(_ADDED))))
        vectors = self._embedder.embed_products(products)
        require_unit_length(vectors, products["product_id"])
        return vectors

    @cached_property
    def _embedder(self) -> Embedder:
        with open_model_copy(self._store, self._version.model_id) as model:
            return Embedder(model)

    @cached_property
    def _earlier(self) -> VersionRows:
        """The rows of the earlier version, as it was published."""
        return VersionRows.open(self._store, read_version(self._store, self._before))

    @cached_property
    def _after(self) -> VersionRows:
        return VersionRows.open(self._store, self._version)

    @property
    def _same_model(self) -> bool:
        return self._earlier.version.vectors_model_id == self._version.vectors_model_id

    @property
    def _schema_before(self) -> pa.Schema:
        return segment_schema(self._earlier.schema, self._earlier.version.dimension)

    @property
    def _schema(self) -> pa.Schema:
        return segment_schema(self._after.schema, self._version.dimension)
