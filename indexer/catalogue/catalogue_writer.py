"""Writing a version's files of products, some thousands of rows at a time.

products.arrow      the shop's columns and popularity, in the index's order, in record batches of one length
id_hashes.npy       64-bit hashes of the ids, sorted
id_positions.npy    the position of each hash
popular.npy         positions of the products that were ever chosen, the most popular first, then by id

Letters: M products.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from indexer.catalogue.id_hashes import id_hashes
from indexer.catalogue.product_file import PRODUCTS_FILE, ROWS_PER_BATCH_KEY
from indexer.catalogue.product_ids import ID_HASHES_FILE, ID_POSITIONS_FILE
from indexer.store.table_schema import POPULARITY
from ubm_embed.data.arrays import IntArray

POPULAR_FILE = "popular.npy"
# A reader checks a batch in full before it takes a row of it, which takes 0.04 ms for this many rows. Fewer would make
# it keep more batches.
ROWS_PER_BATCH = 1024


def write_catalogue(
    folder: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch], rows_per_batch: int = ROWS_PER_BATCH
) -> int:
    """Write the files and return how many products there are.

    Memory grows by 16 bytes for each product, and by the ids of those that were ever chosen.

    Args:
        schema: of the batches: product_id, any columns of the shop, and popularity if there is one.
        batches: in the index's order, of any length.

    Raises:
        OSError: the disk is full, or the like.
    """
    stored = pa.schema([field.with_type(_stored_type(field.type)) for field in schema])
    stored = stored.with_metadata({ROWS_PER_BATCH_KEY: str(rows_per_batch)})
    hashes, chosen, first = [np.empty(0, np.uint64)], list[pa.Table](), 0
    with pa.OSFile(str(folder / PRODUCTS_FILE), "wb") as sink, pa.ipc.new_file(sink, stored) as writer:
        for batch in _of_equal_length(batches, stored, rows_per_batch):
            writer.write_batch(batch)
            hashes.append(id_hashes(batch.column("product_id").to_pylist()))
            chosen.append(_chosen(batch, first))
            first += batch.num_rows
    _write_hashes(folder, np.concatenate(hashes))
    _save(folder / POPULAR_FILE, _by_popularity(chosen).astype("<i8", copy=False))
    return first


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
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
        stream.write(np.ascontiguousarray(array).data)
