"""Product rows and their vectors at rest: one LanceDB table.

Each commit makes a new version of the table and leaves the older ones as they were, so that a reader who pinned one is
never disturbed. Which version answers is not decided here but in `indexer.versions.live`.

Letters: M products, K positions, D width.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa

from indexer.storage.storage import Storage
from indexer.store.lance_errors import translated
from indexer.store.table_snapshot import VECTOR, TableSnapshot, as_array
from ubm_embed.data.arrays import FloatArray, IntArray
from ubm_embed.errors import InvalidData

# Otherwise a first build warns on stderr that there is no table yet. Read when lance is imported.
os.environ.setdefault("LANCE_LOG", "error")

TABLE = "products"
POPULARITY, TEXT_HASH, ROW_HASH = "popularity", "text_hash", "row_hash"
OURS = (VECTOR, POPULARITY, TEXT_HASH, ROW_HASH)

_ROWS_AT_ONCE = 8192
_PIN = "version-"
_MODEL = "ubm_embed.model_id"
# LanceDB keeps `_row...` and `_distance` for itself, reads a dot as a path into a struct, and cannot select the other
# two by name.
_NAME = re.compile(r"(?!_row|_distance$)(?!\*$)[^.`]+")


class VectorBatch(NamedTuple):
    """Some rows of a version, in the table's order.

    Attributes:
        product_ids: [K].
        vectors: [K, D].
    """

    product_ids: pl.Series
    vectors: FloatArray


class ProductTable:
    """The table `products` of a store. Its name in LanceDB is the same."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.folder = f"{TABLE}.lance"
        self.uri = f"{storage.uri}/{self.folder}"
        self._last: tuple[int, TableSnapshot] | None = None

    def read(self, version: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Rows of a version, the shop's columns and popularity unless told otherwise.

        Raises:
            InvalidData: the table or that version of it is gone or damaged.
        """
        with self._pinned(version) as dataset:
            names = columns or [name for name in dataset.schema.names if name not in (VECTOR, TEXT_HASH, ROW_HASH)]
            frame = pl.from_arrow(dataset.to_table(columns=list(names)))
        assert isinstance(frame, pl.DataFrame)
        return frame

    def schema(self, version: int) -> pa.Schema:
        """Columns of a version and their types, the vector among them."""
        with self._pinned(version) as dataset:
            return dataset.schema

    def batches(self, version: int) -> Iterator[VectorBatch]:
        """All vectors of a version with the ids they belong to, in order, some thousands at a time.

        Raises:
            InvalidData: the table or that version of it is gone or damaged.
        """
        with self._pinned(version) as dataset:
            # Read ahead by a little: by default it is sixteen batches.
            asked = {"batch_size": _ROWS_AT_ONCE, "batch_readahead": 2, "fragment_readahead": 2}
            for batch in dataset.to_batches(columns=["product_id", VECTOR], **asked):
                ids = pl.Series("product_id", batch.column("product_id"), dtype=pl.String)
                vectors = batch.column(VECTOR)
                yield VectorBatch(ids, as_array(vectors, vectors.type.list_size))

    def snapshot(self, version: int) -> TableSnapshot:
        """A version, kept open; the one that was asked for last is kept."""
        if self._last is None or self._last[0] != version:
            with translated(self.uri):
                self._last = (version, TableSnapshot(self._open().checkout_version(version), self.uri))
        return self._last[1]

    def vectors(self, version: int, positions: IntArray) -> FloatArray:
        """Vectors at these places in a version's order: [K] -> [K, D].

        Raises:
            InvalidData: the table or that version of it is gone or damaged.
        """
        return self.snapshot(version).vectors(positions)

    def model_id(self, version: int) -> str | None:
        """The model that made the vectors of a version; None of a table of older software."""
        found = (self.schema(version).metadata or {}).get(_MODEL.encode())
        return None if found is None else str(found.decode())

    def count(self, version: int) -> int:
        """Rows of a version."""
        with self._pinned(version) as dataset:
            return int(dataset.count_rows())

    def write_fragments(self, products: pl.DataFrame, vectors: FloatArray, *, anew: bool) -> list[str]:
        """Write rows beside the table, which does not have them until they are committed; as JSON, for a commit.

        Args:
            products: K rows that `require_storable` accepts, with popularity and both hashes.
            vectors: [K, D].
            anew: whether they are for `replace`, else for `append`.

        Raises:
            OSError: the disk is full, or the like.
        """
        from lance.fragment import write_fragments

        schema = table_schema(products, vectors.shape[1])
        batches = pa.RecordBatchReader.from_batches(schema, _batches(products, vectors, schema))
        with translated(self.uri):
            written = write_fragments(batches, self.uri, schema=schema, mode="overwrite" if anew else "append")
        fragments = [json.dumps(fragment.to_json()) for fragment in written]
        for file, _ in self._files(fragments):
            self.storage.fsync(file)
        return fragments

    def has_files(self, fragments: Sequence[str]) -> bool:
        """Whether the files of fragments that were written are still there, and as long as they were."""
        return all(self.storage.size(file) == size for file, size in self._files(fragments))

    def _files(self, fragments: Sequence[str]) -> Iterator[tuple[str, int]]:
        for fragment in fragments:
            for file in json.loads(fragment)["files"]:
                yield f"{self.folder}/data/{file['path']}", file["file_size_bytes"]

    def replace(self, fragments: Sequence[str], schema: pa.Schema, *, model_id: str) -> int:
        """Commit a version that has these rows and no others, with vectors of this model; its number."""
        from lance import LanceOperation

        schema = schema.with_metadata({_MODEL: model_id})
        return self._commit(LanceOperation.Overwrite(schema, _fragments(fragments)))

    def append(self, fragments: Sequence[str]) -> int:
        """Commit the newest version's rows and these; its number."""
        from lance import LanceOperation

        return self._commit(LanceOperation.Append(_fragments(fragments)), read_version=self.latest())

    def remove(self, product_ids: pl.Series) -> int:
        """Commit the newest version without these products; its number.

        Raises:
            Conflict: the lock was lost; so every method that writes.
        """
        with self._writing():
            dataset = self._open()
            gone = product_ids.alias("product_id").to_frame().to_arrow()
            dataset.merge_insert("product_id").when_matched_delete().execute(gone)
            return int(dataset.latest_version)

    def restore(self, version: int) -> int:
        """Make the newest version's rows those of `version`, as a crashed writer may have left others; its number."""
        with self._writing():
            dataset = self._open()
            if dataset.latest_version == version:
                return version
            dataset = dataset.checkout_version(version)
            dataset.restore()
            return int(dataset.latest_version)

    def index_vectors(self, version: int, lists: int) -> int:
        """Commit a version with the rows of `version` and LanceDB's own indexes: of the vectors, divided into so many
        lists, and of the ids. Its number.
        """
        at = self.restore(version)
        with self._writing():
            dataset = self._open().checkout_version(at)
            dataset.create_index(VECTOR, "IVF_SQ", metric="dot", num_partitions=lists, replace=True)
            dataset.create_scalar_index("product_id", "BTREE", replace=True)
            return int(dataset.latest_version)

    def drop_indexes(self) -> None:
        """Commit the newest version without LanceDB's indexes, which every change of the rows would have to change."""
        with self._writing():
            dataset = self._open()
            for index in dataset.describe_indices():
                dataset.drop_index(index.name)

    def compact(self, rows: int) -> int:
        """Join small fragments of the newest version up to `rows` each, and drop rows that were removed; its number.

        At most a quarter of the rows is written anew, so that the version before, which keeps the old files, and this
        one never take twice the space.
        """
        with self._writing():
            dataset = self._open()
            at_most = max(dataset.count_rows() // 4, 2 * rows)
            dataset.optimize.compact_files(target_rows_per_fragment=rows, max_source_rows=at_most)
            return int(dataset.latest_version)

    def latest(self) -> int:
        """Number of the newest version, whether it was published or not."""
        with translated(self.uri):
            return int(self._open().latest_version)

    def pin(self, number: int, version: int) -> None:
        """Keep a version of the table for as long as the store's version `number` is there."""
        with self._writing():
            tags, name = self._open().tags, f"{_PIN}{number}"
            # One that a crash left belongs to a version that never came to be.
            (tags.update if name in tags.list() else tags.create)(name, version)

    def unpin(self, number: int) -> None:
        """Let the table's version of the store's version `number` go at the next `clean`."""
        with self._writing():
            self._open().tags.delete(f"{_PIN}{number}")

    def pins(self) -> dict[int, int]:
        """The table's version by the store's version that keeps it.

        Raises:
            InvalidData: the table is gone or damaged.
        """
        with translated(self.uri):
            tags = self._open().tags.list()
        return {
            int(name.removeprefix(_PIN)): int(tag["version"]) for name, tag in tags.items() if name.startswith(_PIN)
        }

    def clean(self, *, unfinished: bool) -> int:
        """Remove all versions but the newest and the pinned ones, and the files that only they had; bytes given back.

        Args:
            unfinished: also files that no version has, as a writer that was killed leaves them.
        """
        with self._writing():
            # The table's own `optimize` stops at a pinned version; this goes round it.
            done = self._open().cleanup_old_versions(
                older_than=timedelta(0), delete_unverified=unfinished, error_if_tagged_old_versions=False
            )
        return int(done.bytes_removed)

    def fsync(self) -> None:
        """Bring to disk what LanceDB wrote: a version that is live must not point to rows that a power cut took."""
        self.storage.fsync(self.folder)

    def _commit(self, operation: Any, read_version: int | None = None) -> int:
        from lance import LanceDataset

        with self._writing():
            committed = LanceDataset.commit(self.uri, operation, read_version=read_version)
            return int(committed.version)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """What is committed after the lock was lost would get in the way of who has it now."""
        self.storage.require_lock()
        with translated(self.uri):
            yield

    @contextlib.contextmanager
    def _pinned(self, version: int) -> Iterator[Any]:
        """A handle of its own on one version of the table: it sees no later one."""
        with translated(self.uri):
            yield self._open().checkout_version(version)

    def _open(self) -> Any:
        # Lance itself, which LanceDB is made of: one library for reading and writing, and half a second less to import.
        import lance

        return lance.dataset(self.uri)


def require_storable(products: pl.DataFrame, file: str | Path) -> None:
    """Raise `InvalidData` for a column whose name or type the table cannot hold: asked before long work."""
    for name, dtype in products.schema.items():
        if name in OURS or not _NAME.fullmatch(name):
            raise InvalidData("a column of this name cannot be stored; rename it", file=file, field=name)
        try:
            products[name].head(0).to_arrow()
        except (pa.ArrowException, pl.exceptions.PolarsError):
            raise InvalidData(f"values of type {dtype} cannot be stored", file=file, field=name) from None


def table_schema(products: pl.DataFrame, width: int) -> pa.Schema:
    """The columns of a table with the columns of these rows and vectors of this width."""
    vector = pa.field(VECTOR, pa.list_(pa.float32(), width), nullable=False)
    return products.head(0).to_arrow().schema.append(vector)


def _batches(products: pl.DataFrame, vectors: FloatArray, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for first, rows in enumerate(products.iter_slices(_ROWS_AT_ONCE)):
        part = vectors[first * _ROWS_AT_ONCE :][: rows.height]
        column = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), vectors.shape[1])
        arrays = [*(chunked.combine_chunks() for chunked in rows.to_arrow().columns), column]
        yield pa.record_batch(arrays, schema=schema)


def _fragments(written: Sequence[str]) -> list[Any]:
    from lance import FragmentMetadata

    return [FragmentMetadata.from_json(fragment) for fragment in written]
