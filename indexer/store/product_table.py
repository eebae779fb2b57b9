"""Product rows and their vectors at rest: one LanceDB table.

Each commit makes a new version of the table and leaves the older ones as they were, so a reader of one is never
disturbed. Which version answers is decided in `indexer.versions.live`, not here.

Letters: M products, K positions, D width.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from indexer.storage.storage import Storage
from indexer.store.lance_errors import translated
from indexer.store.table_schema import ROW_HASH, TEXT_HASH, VECTOR, record_batches, table_schema, vectors_in
from indexer.store.table_snapshot import TableSnapshot
from ubm_embed.data.arrays import FloatArray, IntArray

if TYPE_CHECKING:
    import polars as pl  # inside the methods that need it: those who read a version open a store without it

TABLE = "products"

_ROWS_PER_BATCH = 8192
_PIN = "version-"
_MODEL = "ubm_embed.model_id"


class VectorBatch(NamedTuple):
    """Some rows of a version, in the table's order.

    Attributes:
        product_ids: [K].
        vectors: [K, D].
    """

    product_ids: pl.Series
    vectors: FloatArray


class ProductTable:
    """The table `products` of a store, which has the same name in LanceDB.

    Every method that writes raises Conflict if this process has lost the store's lock.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.folder = f"{TABLE}.lance"
        self.uri = f"{storage.uri}/{self.folder}"
        self._last: tuple[int, TableSnapshot] | None = None

    def read(self, version: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Rows of a version: these columns, or the shop's columns and popularity.

        Raises:
            InvalidData: the table or this version of it is missing or damaged.
        """
        import polars as pl

        with self._pinned(version) as dataset:
            names = columns or [name for name in dataset.schema.names if name not in (VECTOR, TEXT_HASH, ROW_HASH)]
            return pl.DataFrame(dataset.to_table(columns=list(names)))

    def row(self, version: int, position: int, columns: Sequence[str]) -> dict[str, Any]:
        """The values of one row of a version, by column."""
        with self._pinned(version) as dataset:
            return dict(dataset.take([position], columns=list(columns)).to_pylist()[0])

    def schema(self, version: int) -> pa.Schema:
        """Columns of a version and their types, the vector among them."""
        with self._pinned(version) as dataset:
            return dataset.schema

    def batches(self, version: int) -> Iterator[VectorBatch]:
        """All vectors of a version with their product ids, in order, some thousands at a time.

        Raises:
            InvalidData: the table or this version of it is missing or damaged.
        """
        import polars as pl

        with self._pinned(version) as dataset:
            # Read only a little ahead, for memory: the default is sixteen batches.
            limits = {"batch_size": _ROWS_PER_BATCH, "batch_readahead": 2, "fragment_readahead": 2}
            for batch in dataset.to_batches(columns=["product_id", VECTOR], **limits):
                ids = pl.Series("product_id", batch.column("product_id"), dtype=pl.String)
                vectors = batch.column(VECTOR)
                yield VectorBatch(ids, vectors_in(vectors, vectors.type.list_size))

    def vector_batches(self, version: int) -> Iterator[FloatArray]:
        """As `batches`, without the ids: each [K, D]."""
        return (batch.vectors for batch in self.batches(version))

    def snapshot(self, version: int) -> TableSnapshot:
        """A version, kept open; asking for the last one again returns the same handle."""
        if self._last is None or self._last[0] != version:
            with translated(self.uri):
                self._last = (version, TableSnapshot(self._open().checkout_version(version), self.uri))
        return self._last[1]

    def vectors(self, version: int, positions: IntArray) -> FloatArray:
        """Vectors at these positions of a version: [K] -> [K, D].

        Raises:
            InvalidData: the table or this version of it is missing or damaged.
        """
        return self.snapshot(version).vectors(positions)

    def model_id(self, version: int) -> str | None:
        """The model that made the vectors of a version; None if older software wrote the table."""
        model_id = (self.schema(version).metadata or {}).get(_MODEL.encode())
        return None if model_id is None else str(model_id.decode())

    def count(self, version: int) -> int:
        """Rows of a version."""
        with self._pinned(version) as dataset:
            return int(dataset.count_rows())

    def write_fragments(self, products: pl.DataFrame, vectors: FloatArray, *, overwrite: bool) -> list[str]:
        """Write rows beside the table and return their fragments as JSON, for a later `replace` or `append`.

        Args:
            products: K rows that `require_storable` accepts, with popularity and both hashes.
            vectors: [K, D].
            overwrite: whether they are for `replace`; for `append` if not.

        Raises:
            OSError: the disk is full, or the like.
        """
        from lance.fragment import write_fragments

        schema = table_schema(products, vectors.shape[1])
        batches = pa.RecordBatchReader.from_batches(schema, record_batches(products, vectors, schema, _ROWS_PER_BATCH))
        with translated(self.uri):
            written = write_fragments(batches, self.uri, schema=schema, mode="overwrite" if overwrite else "append")
        fragments = [json.dumps(fragment.to_json()) for fragment in written]
        for file, _ in self._files(fragments):
            self.storage.fsync(file)
        return fragments

    def has_files(self, fragments: Sequence[str]) -> bool:
        """Whether the files of written fragments are still there and have their full length."""
        return all(self.storage.size(file) == size for file, size in self._files(fragments))

    def _files(self, fragments: Sequence[str]) -> Iterator[tuple[str, int]]:
        for fragment in fragments:
            for file in json.loads(fragment)["files"]:
                yield f"{self.folder}/data/{file['path']}", file["file_size_bytes"]

    def replace(self, fragments: Sequence[str], schema: pa.Schema, *, model_id: str) -> int:
        """Commit a version with these rows only, whose vectors this model made, and return its number."""
        from lance import LanceOperation

        schema = schema.with_metadata({_MODEL: model_id})
        return self._commit(LanceOperation.Overwrite(schema, _fragments(fragments)))

    def append(self, fragments: Sequence[str]) -> int:
        """Commit the newest version's rows and these, and return the number."""
        from lance import LanceOperation

        return self._commit(LanceOperation.Append(_fragments(fragments)), read_version=self.latest())

    def remove(self, product_ids: pl.Series) -> int:
        """Commit the newest version without these products, and return the number."""
        with self._writing():
            dataset = self._open()
            removed = product_ids.alias("product_id").to_frame().to_arrow()
            dataset.merge_insert("product_id").when_matched_delete().execute(removed)
            return int(dataset.latest_version)

    def restore(self, version: int) -> int:
        """Make `version` the newest one, as a crashed writer may have left a later one; return the newest number."""
        with self._writing():
            dataset = self._open()
            if dataset.latest_version == version:
                return version
            dataset = dataset.checkout_version(version)
            dataset.restore()
            return int(dataset.latest_version)

    def create_index(self, version: int, nlist: int) -> int:
        """Commit the rows of `version` with LanceDB's index over the vectors, and return the number.

        Args:
            nlist: into how many lists the index divides the vectors.
        """
        newest = self.restore(version)
        with self._writing():
            dataset = self._open().checkout_version(newest)
            dataset.create_index(VECTOR, "IVF_SQ", metric="dot", num_partitions=nlist, replace=True)
            return int(dataset.latest_version)

    def drop_indexes(self) -> None:
        """Commit the newest version without LanceDB's indexes, which each later change of rows would have to update."""
        with self._writing():
            dataset = self._open()
            for index in dataset.describe_indices():
                dataset.drop_index(index.name)

    def compact(self, rows: int) -> int:
        """Merge small fragments of the newest version into some of up to `rows`, and return the number.

        At most a quarter of the rows is rewritten at once: the version before keeps its files, and the two must never
        take twice the space.
        """
        with self._writing():
            dataset = self._open()
            max_rows = max(dataset.count_rows() // 4, 2 * rows)
            dataset.optimize.compact_files(target_rows_per_fragment=rows, max_source_rows=max_rows)
            return int(dataset.latest_version)

    def latest(self) -> int:
        """Number of the newest version, published or not."""
        with translated(self.uri):
            return int(self._open().latest_version)

    def pin(self, number: int, version: int) -> None:
        """Keep a version of the table until the store's version `number` is unpinned."""
        with self._writing():
            tags, name = self._open().tags, f"{_PIN}{number}"
            # A crash may have left this pin for a version that was never published.
            (tags.update if name in tags.list() else tags.create)(name, version)

    def unpin(self, number: int) -> None:
        """Let the next `cleanup` remove the table's version of the store's version `number`."""
        with self._writing():
            self._open().tags.delete(f"{_PIN}{number}")

    def pins(self) -> dict[int, int]:
        """The pinned versions of the table, by the store's version that pins each.

        Raises:
            InvalidData: the table is gone or damaged.
        """
        with translated(self.uri):
            tags = self._open().tags.list()
        return {
            int(name.removeprefix(_PIN)): int(tag["version"]) for name, tag in tags.items() if name.startswith(_PIN)
        }

    def cleanup(self, *, unfinished: bool) -> int:
        """Remove all versions but the newest and the pinned ones, and return how many bytes that freed.

        Args:
            unfinished: also remove files that belong to no version, which a killed writer leaves.
        """
        with self._writing():
            # `optimize` would stop at the first pinned version; this skips it.
            stats = self._open().cleanup_old_versions(
                older_than=timedelta(0), delete_unverified=unfinished, error_if_tagged_old_versions=False
            )
        return int(stats.bytes_removed)

    def fsync(self) -> None:
        """Flush LanceDB's files to disk: no live version may point to rows that a power cut can take."""
        self.storage.fsync(self.folder)

    def _commit(self, operation: Any, read_version: int | None = None) -> int:
        from lance import LanceDataset

        with self._writing():
            committed = LanceDataset.commit(self.uri, operation, read_version=read_version)
            return int(committed.version)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Check the lock first: a commit after it was lost would collide with those of its new holder."""
        self.storage.require_lock()
        with translated(self.uri):
            yield

    @contextlib.contextmanager
    def _pinned(self, version: int) -> Iterator[Any]:
        """A fresh handle on one version of the table."""
        with translated(self.uri):
            yield self._open().checkout_version(version)

    def _open(self) -> Any:
        # Lance itself, on which LanceDB is built, reads and writes and takes half a second less to import.
        import lance

        return lance.dataset(self.uri)


def _fragments(written: Sequence[str]) -> list[Any]:
    from lance import FragmentMetadata

    return [FragmentMetadata.from_json(fragment) for fragment in written]
