"""Product rows and their vectors at rest: one LanceDB table in the store's folder.

Each write makes a new version of the table and leaves the older ones as they were, so that a reader who pinned one is
never disturbed. Which version answers is not decided here but in `indexer.version`.

Letters: M products, D width.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import pyarrow as pa
from filelock import FileLock, Timeout

from ubm_embed.data.arrays import FloatArray
from ubm_embed.errors import Conflict, InvalidData, NotFound, QualityGateFailed

TABLE, LIVE_FILE, LOCK_FILE = "products", "live.json", ".lock"
VERSIONS, MODELS = "versions", "models"
VECTOR, POPULARITY = "vector", "popularity"

_CONTENTS = {f"{TABLE}.lance", LIVE_FILE, LOCK_FILE, VERSIONS, MODELS}
_LEFTOVER = ".*.partial"
_ROWS_AT_ONCE = 20_000
# LanceDB keeps `_row...` for itself, reads a dot as a path into a struct, and cannot select the other two by name.
_NAME = re.compile(r"(?!_row)(?!\*$)[^.`]+")


@dataclass(frozen=True)
class StoredVectors:
    """The vectors of one version of the table.

    Attributes:
        product_ids: [M], in the table's order.
        vectors: [M, D].
    """

    product_ids: pl.Series
    vectors: FloatArray


class EmbeddingStore:
    """A store's folder. Opening one reads nothing; every read opens the table anew at the version it is given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, folder: str | Path) -> Self:
        """The store in `folder`, which is made if it is not there.

        Raises:
            Conflict: `folder` is a file, or holds something that is no part of a store.
        """
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise Conflict(f"{folder} is a file; expected a folder for the store")
        found = {entry.name for entry in folder.iterdir() if not entry.match(_LEFTOVER)} if folder.is_dir() else set()
        if found - _CONTENTS and LIVE_FILE not in found:
            raise Conflict(f"{folder} holds {min(found - _CONTENTS)!r} and is no store; choose another place")
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """The store in `folder`.

        Raises:
            NotFound: there is none, or nothing was ever published in it.
        """
        folder = Path(folder)
        if not (folder / LIVE_FILE).is_file():
            build = f"ubm-embed build-index --model DIR --products FILE --store {folder}"
            raise NotFound(f"no store that answers at {folder}; build one: {build}")
        return cls(folder)

    @property
    def table_folder(self) -> Path:
        """Where LanceDB keeps the table."""
        return self.folder / f"{TABLE}.lance"

    def version_folder(self, number: int) -> Path:
        """Where the manifest and the index of a version are."""
        return self.folder / VERSIONS / str(number)

    def model_folder(self, model_id: str) -> Path:
        """Where the store keeps its copy of a model."""
        return self.folder / MODELS / model_id

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only writer inside the block. Readers need no lock.

        Raises:
            Conflict: another process writes.
        """
        # The system releases the lock when its holder dies, however it dies.
        lock = FileLock(self.folder / LOCK_FILE, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            held = f"it holds {self.folder / LOCK_FILE}"
            raise Conflict(f"another process is writing to {self.folder} ({held}); wait until it is done") from None
        try:
            self._clear_leftovers()
            yield
        finally:
            lock.release()

    def _clear_leftovers(self) -> None:
        """Remove what a writer that was killed left aside."""
        for folder in (self.folder, self.folder / VERSIONS, self.folder / MODELS):
            for leftover in folder.glob(_LEFTOVER):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()

    def write(self, products: pl.DataFrame, vectors: FloatArray) -> int:
        """Replace all rows, as a new version of the table, whose number is returned. Call it inside `writing`.

        Args:
            products: M rows that `require_storable` accepts, `popularity` among them.
            vectors: [M, D].

        Raises:
            OSError: the disk is full, or the like; the older versions are as they were.
            QualityGateFailed: the table does not hold each product once.
        """
        schema = (
            products.head(0)
            .to_arrow()
            .schema.append(pa.field(VECTOR, pa.list_(pa.float32(), vectors.shape[1]), nullable=False))
        )
        batches = pa.RecordBatchReader.from_batches(schema, _batches(products, vectors, schema))
        with _translated(self.table_folder):
            table = self._connect().create_table(TABLE, data=batches, mode="overwrite")
            version = int(table.version)
        _settle(self.table_folder)
        self._require_each_once(version, products.height)
        return version

    def _require_each_once(self, version: int, expected: int) -> None:
        ids = self.read_products(version, ["product_id"])["product_id"]
        if not ids.len() == ids.n_unique() == expected:
            found = f"{ids.len()} rows with {ids.n_unique()} different ids"
            raise QualityGateFailed(f"wrote {expected} products to {self.table_folder}, read back {found}")

    def read_products(self, version: int, columns: list[str] | None = None) -> pl.DataFrame:
        """Rows of a version of the table, all columns but the vector unless told otherwise.

        Raises:
            InvalidData: the table or that version of it is gone or damaged.
        """
        with self._pinned(version) as table:
            names = columns or [name for name in table.schema.names if name != VECTOR]
            frame = pl.from_arrow(table.search().select(names).to_arrow())
        assert isinstance(frame, pl.DataFrame)
        return frame

    def read_vectors(self, version: int) -> StoredVectors:
        """Vectors of a version of the table, with the ids they belong to.

        Raises:
            InvalidData: the table or that version of it is gone or damaged.
        """
        with self._pinned(version) as table:
            width = table.schema.field(VECTOR).type.list_size
            vectors = np.empty((table.count_rows(), width), np.float32)
            ids, done = [], 0
            # Batch by batch into one array: a whole column beside it would double the memory.
            for batch in table.search().select(["product_id", VECTOR]).to_batches(_ROWS_AT_ONCE):
                flat = batch.column(VECTOR).flatten().to_numpy()
                vectors[done : done + batch.num_rows] = flat.reshape(-1, width)
                ids.append(pl.Series("product_id", batch.column("product_id"), dtype=pl.String))
                done += batch.num_rows
        assert done == len(vectors), "a pinned version does not change while it is read"
        return StoredVectors(pl.concat(ids), vectors)

    @contextlib.contextmanager
    def _pinned(self, version: int) -> Iterator[Any]:
        """A handle of its own on one version of the table: it sees no later one, and refuses writes."""
        with _translated(self.table_folder):
            table = self._connect().open_table(TABLE)
            table.checkout(version)
            yield table

    def _connect(self) -> Any:
        # Otherwise the first build warns on stderr that there is no table yet. Read once, when lancedb is imported.
        os.environ.setdefault("LANCEDB_LOG", "error")
        import lancedb

        return lancedb.connect(self.folder)


def require_storable(products: pl.DataFrame, file: str | Path) -> None:
    """Raise `InvalidData` for a column whose name or type the table cannot hold: asked before long work."""
    for name, dtype in products.schema.items():
        if name in (VECTOR, POPULARITY) or not _NAME.fullmatch(name):
            raise InvalidData("a column of this name cannot be stored; rename it", file=file, field=name)
        try:
            products[name].head(0).to_arrow()
        except (pa.ArrowException, pl.exceptions.PolarsError):
            raise InvalidData(f"values of type {dtype} cannot be stored", file=file, field=name) from None


def _batches(products: pl.DataFrame, vectors: FloatArray, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for first, rows in enumerate(products.iter_slices(_ROWS_AT_ONCE)):
        part = vectors[first * _ROWS_AT_ONCE :][: rows.height]
        column = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), vectors.shape[1])
        arrays = [*(chunked.combine_chunks() for chunked in rows.to_arrow().columns), column]
        yield pa.record_batch(arrays, schema=schema)


def _settle(folder: Path) -> None:
    """Bring to disk what LanceDB wrote: a version that is live must not point to rows that a power cut took."""
    for entry in (folder, *folder.rglob("*")):
        descriptor = os.open(entry, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _translated(file: Path) -> Iterator[None]:
    """LanceDB reports a full disk, a missing version and a damaged file alike: as text."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        number = re.search(r"os error (\d+)", str(error))
        if number:
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(file)) from error
        raise InvalidData(f"LanceDB cannot use it: {' '.join(str(error).split())[:300]}", file=file) from error
