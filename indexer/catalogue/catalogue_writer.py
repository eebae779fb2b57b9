"""Writing a version's files of products, some thousands of rows at a time.

products.arrow      the shop's columns and popularity, in the index's order, in record batches of one length
id_hashes.npy       64-bit hashes of the ids, sorted
id_positions.npy    the position of each hash
popular.npy         positions of the products that were ever chosen, the most popular first, then by id
text_hashes.npy     [M] 16 bytes each, of what the model reads of a product
row_hashes.npy      [M] 64 bits each, of a product's other columns, too
popularity.npy      [M] how often each product was chosen

The last three are as the table has them, and are missing where it lacks the column.

Letters: M products, K of a batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexer.catalogue.id_hashes import id_hashes
from indexer.catalogue.product_file import PRODUCTS_FILE, ROWS_PER_BATCH_KEY
from indexer.catalogue.product_ids import ID_HASHES_FILE, ID_POSITIONS_FILE
from indexer.store.table_schema import POPULARITY, ROW_HASH, TEXT_HASH
from ubm_embed.data.arrays import IntArray

POPULAR_FILE = "popular.npy"
TEXT_HASHES_FILE, ROW_HASHES_FILE, POPULARITY_FILE = "text_hashes.npy", "row_hashes.npy", "popularity.npy"
TEXT_HASHES = np.dtype("V16")
# A reader checks a batch in full before it takes a row of it, which takes 0.04 ms for this many rows. Fewer would make
# it keep more batches.
ROWS_PER_BATCH = 1024


# Hashes of the ids of a batch; batches come in order: [K] -> [K].
IdHashes = Callable[[pa.Array], NDArray[np.uint64]]


def hash_ids(product_ids: pa.Array) -> NDArray[np.uint64]:
    """The hashes of ids, wherever they are; an `IdHashes`."""
    return id_hashes(product_ids.to_pylist())


def write_catalogue(
    folder: Path,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    rows_per_batch: int = ROWS_PER_BATCH,
    hashes_of: IdHashes = hash_ids,
) -> int:
    """Write the files and return how many products there are.

    Memory grows by 16 bytes for each product, and by the ids of those that were ever chosen.

    Args:
        schema: of the batches: product_id, any columns of the shop, and popularity and both hashes if there are any.
        batches: in the index's order, of any length.
        hashes_of: the hashes of ids, of which a refresh knows most.

    Raises:
        OSError: the disk is full, or the like.
    """
    shown = [field for field in schema if field.name not in (TEXT_HASH, ROW_HASH)]
    stored = pa.schema([field.with_type(_stored_type(field.type)) for field in shown])
    stored = stored.with_metadata({ROWS_PER_BATCH_KEY: str(rows_per_batch)})
    hashes, chosen, first = [np.empty(0, np.uint64)], list[pa.Table](), 0
    with contextlib.ExitStack() as files:
        sink = files.enter_context(pa.OSFile(str(folder / PRODUCTS_FILE), "wb"))
        writer = files.enter_context(pa.ipc.new_file(sink, stored))
        arrays = {name: files.enter_context(_ArrayFile(folder / name, dtype)) for name, dtype in _arrays_of(schema)}
        for batch in _of_equal_length(_with_arrays(batches, arrays), stored, rows_per_batch):
            writer.write_batch(batch)
            hashes.append(hashes_of(batch.column("product_id")))
            chosen.append(_chosen(batch, first))
            first += batch.num_rows
    _write_hashes(folder, np.concatenate(hashes))
    _save(folder / POPULAR_FILE, _by_popularity(chosen).astype("<i8", copy=False))
    return first


def write_popularity(folder: Path, popularity: NDArray[np.int64], ids_at: Callable[[IntArray], pa.Array]) -> None:
    """Write `popularity.npy` and `popular.npy` of a version that has its other files from another one.

    Args:
        popularity: of each product: [M].
        ids_at: the ids of products at positions.

    Raises:
        OSError: the disk is full, or the like.
    """
    positions = np.flatnonzero(popularity > 0)
    columns = {"product_id": ids_at(positions), POPULARITY: pa.array(popularity[positions]), "position": positions}
    _save(folder / POPULARITY_FILE, popularity.astype("<i8", copy=False))
    _save(folder / POPULAR_FILE, _by_popularity([pa.table(columns)]).astype("<i8", copy=False))


def values_of(column: pa.Array, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The values of a column of numbers or of hashes of bytes, 0 in place of null: [K]."""
    if dtype.kind != "V":
        return np.asarray(column.fill_null(0).to_numpy(zero_copy_only=False), dtype)
    fixed = column.fill_null(bytes(dtype.itemsize)).cast(pa.binary(dtype.itemsize))
    return np.frombuffer(fixed.buffers()[1], dtype, len(fixed), fixed.offset * dtype.itemsize)


_COLUMNS = {
    TEXT_HASHES_FILE: (TEXT_HASH, TEXT_HASHES),
    ROW_HASHES_FILE: (ROW_HASH, np.dtype("<u8")),
    POPULARITY_FILE: (POPULARITY, np.dtype("<i8")),
}


def _arrays_of(schema: pa.Schema) -> Iterator[tuple[str, np.dtype[Any]]]:
    for name, (column, dtype) in _COLUMNS.items():
        if column in schema.names:
            yield name, dtype


def _with_arrays(batches: Iterable[pa.RecordBatch], arrays: Mapping[str, _ArrayFile]) -> Iterator[pa.RecordBatch]:
    """The batches without their hashes, once the arrays have the values of theirs."""
    for batch in batches:
        for name, array in arrays.items():
            column, dtype = _COLUMNS[name]
            array.write(values_of(batch.column(column), dtype))
        yield batch.drop_columns([name for name in (TEXT_HASH, ROW_HASH) if name in batch.schema.names])


class _ArrayFile:
    """An array of one dimension as `np.save` writes it, some values at a time, of which the number is known last."""

    def __init__(self, file: Path, dtype: np.dtype[Any]) -> None:
        self._stream, self._dtype, self._count = file.open("wb"), dtype, 0
        self._start = _write_header(self._stream, dtype, 0)

    def write(self, values: NDArray[Any]) -> None:
        self._stream.write(np.ascontiguousarray(values).data)
        self._count += values.size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with self._stream:
            self._stream.seek(0)
            end = _write_header(self._stream, self._dtype, self._count)
            assert end == self._start, "NumPy leaves room in its header for an array that grows"


def _write_header(stream: BinaryIO, dtype: np.dtype[Any], count: int) -> int:
    """Write the header of an array of one dimension, and return where its values begin."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.tell()


def _stored_type(kind: pa.DataType) -> pa.DataType:
    """The type to store a column in: values instead of dictionaries, and times in microseconds, as Python has them."""
    if pa.types.is_dictionary(kind):
        return _stored_type(kind.value_type)  # an Arrow file holds one dictionary a column, and each batch has its own
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_stored_type(field.type)) for field in kind])
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_stored_type(kind.value_type), kind.list_size)
    if pa.types.is_large_list(kind):
        return pa.large_list(_stored_type(kind.value_type))
    if pa.types.is_list(kind):
        return pa.list_(_stored_type(kind.value_type))
    if getattr(kind, "unit", None) == "ns":
        return pa.timestamp("us", kind.tz) if pa.types.is_timestamp(kind) else _microseconds(kind)
    return kind


def _microseconds(kind: pa.DataType) -> pa.DataType:
    return pa.duration("us") if pa.types.is_duration(kind) else pa.time64("us")


def _of_equal_length(batches: Iterable[pa.RecordBatch], schema: pa.Schema, rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows in the types of `schema`, `rows` at a time."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        columns = [column.cast(field.type, safe=False) for column, field in zip(batch.columns, schema, strict=True)]
        waiting.append(pa.record_batch(columns, schema=schema))
        if sum(part.num_rows for part in waiting) >= rows:
            *whole, rest = pa.Table.from_batches(waiting).combine_chunks().to_batches(max_chunksize=rows)
            yield from whole
            waiting = [rest]
            if rest.num_rows == rows:
                yield waiting.pop()
    if waiting:
        yield from pa.Table.from_batches(waiting).combine_chunks().to_batches(max_chunksize=rows)


def _chosen(batch: pa.RecordBatch, first: int) -> pa.Table:
    """Ids, counts and positions of a batch's products that were ever chosen; its first is at position `first`."""
    import pyarrow.compute as pc  # readers do without it

    ids = batch.column("product_id")
    positions = pa.array(np.arange(first, first + batch.num_rows))
    counts = batch.column(POPULARITY) if POPULARITY in batch.schema.names else pa.nulls(batch.num_rows, pa.int64())
    rows = pa.table({"product_id": ids, POPULARITY: counts.cast(pa.int64()), "position": positions})
    return rows.filter(pc.greater(rows[POPULARITY], 0))


def _by_popularity(chosen: list[pa.Table]) -> IntArray:
    if not chosen:
        return np.empty(0, np.int64)
    ranked = pa.concat_tables(chosen).sort_by([(POPULARITY, "descending"), ("product_id", "ascending")])
    positions: IntArray = ranked["position"].to_numpy()
    return positions


def _write_hashes(folder: Path, hashes: IntArray) -> None:
    order = np.argsort(hashes, kind="stable")
    _save(folder / ID_HASHES_FILE, hashes[order].astype("<u8", copy=False))
    _save(folder / ID_POSITIONS_FILE, order.astype("<u4"))


def _save(file: Path, array: IntArray) -> None:
    """As `np.save`, whose error does not say that the disk is full."""
    with file.open("wb") as stream:
        _write_header(stream, array.dtype, array.size)
        stream.write(np.ascontiguousarray(array).data)
