"""Segments: products that were upserted or deleted, in Arrow files that never change.

A row is a product as it was from a revision on, or a tombstone. A file has one row a product, in order of application.

Letters: K rows, D width.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexer.storage.storage import Storage
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.table_schema import POPULARITY, ROW_HASH, TEXT_HASH, VECTOR
from indexer.versions.revision import Revision, SegmentFile, segment_path
from ubm_embed.data.arrow_arrays import mask, matrix, present, taken, vector
from ubm_embed.errors import InvalidData

ROW_REVISION, ROW_DELETED, ROW_TIME = "_row_revision", "_row_deleted", "_row_time"
HASH_BYTES = 16
_MAX_TRIES = 5
_ADDED = (
    pa.field(TEXT_HASH, pa.binary(HASH_BYTES)),
    pa.field(ROW_HASH, pa.uint64()),
    pa.field(ROW_REVISION, pa.int64()),
    pa.field(ROW_DELETED, pa.bool_()),
    pa.field(ROW_TIME, pa.timestamp("us", "UTC")),
)


def segment_schema(columns: pa.Schema, dimension: int) -> pa.Schema:
    """The columns of a segment.

    A vector is null if the product's text is that of its base row. A tombstone has only its id and the `_row` columns.

    Args:
        columns: of the version's products; a segment has no popularity.
        dimension: D.
    """
    shop = [pa.field(field.name, field.type) for field in columns if field.name != POPULARITY]
    return pa.schema([*shop, pa.field(VECTOR, pa.list_(pa.float32(), dimension)), *_ADDED])


def write_segment(store: EmbeddingStore, version: int, number: int, rows: pa.Table) -> SegmentFile:
    """Write rows, [K], as a segment of a revision, so that it survives a power cut.

    Nothing reads it before live.json names it.

    Args:
        rows: of a `segment_schema`, one a product.
        number: of the revision.

    Raises:
        OSError: the disk is full, or the like.
    """
    # Of two writers that race for a number each writes a file of its own.
    name = f"{number}-{secrets.token_hex(8)}.arrow"
    content = _content(rows)
    path = segment_path(version, name)
    _write(store.storage, path, content)
    store.storage.fsync(path)
    digest = hashlib.sha256(content).hexdigest()
    return SegmentFile(name=name, rows=rows.num_rows, bytes=len(content), sha256=digest)


def _write(storage: Storage, path: str, content: bytes) -> None:
    for _ in range(_MAX_TRIES - 1):
        # A writer that takes the store's lock removes temporary files, of which one may be this one's: it has no lock.
        with contextlib.suppress(FileNotFoundError):
            storage.write(path, content)
            return
    storage.write(path, content)


def read_segment(store: EmbeddingStore, version: int, segment: SegmentFile, schema: pa.Schema) -> pa.Table:
    """The rows of a segment: [K].

    Args:
        schema: the version's `segment_schema`.

    Raises:
        InvalidData: names the file, which is missing, truncated, damaged or of other products.
    """
    path = segment_path(version, segment.name)
    file = f"{store.uri}/{path}"
    try:
        content = store.storage.read(path)
    except FileNotFoundError:
        raise InvalidData("missing; the store is damaged", file=file) from None
    if len(content) != segment.bytes:
        problem = f"truncated or damaged: {len(content):,} bytes, expected {segment.bytes:,}"
        raise InvalidData(problem, file=file)
    if hashlib.sha256(content).hexdigest() != segment.sha256:
        raise InvalidData("damaged: its content is not what was published", file=file)
    rows = _rows(content, schema, file)
    if rows.num_rows != segment.rows:
        raise InvalidData(f"damaged: {rows.num_rows:,} rows, expected {segment.rows:,}", file=file)
    _require_revisions(rows, 1, int(segment.name.partition("-")[0]), file)
    return rows


def read_rows(
    store: EmbeddingStore,
    version: int,
    revision: Revision | None,
    schema: pa.Schema,
    known: Revision | None = None,
) -> pa.Table:
    """The rows of a revision that are newer than those of an earlier one, in order of application: [K].

    A product that changed several times may have several. Only segments that the earlier revision lacks are read.

    Args:
        schema: the version's `segment_schema`.
        known: the earlier revision; None for all rows.

    Raises:
        InvalidData: names the segment that is missing, truncated or damaged.
    """
    read = set() if known is None else {segment.name for segment in known.segments}
    segments = () if revision is None else revision.segments
    tables = [read_segment(store, version, segment, schema) for segment in segments if segment.name not in read]
    empty = pa.Table.from_batches([], schema)
    return rows_after(pa.concat_tables([empty, *tables]), known.number if known else 0)


def write_patch(file: Path, rows: pa.Table) -> None:
    """Write the rows that differ from the products whose files a version shares: [K].

    Args:
        rows: of a `segment_schema`, one a product, without vectors and tombstones.
    """
    file.write_bytes(_content(rows.drop_columns([VECTOR]) if VECTOR in rows.column_names else rows))


def read_patch(file: Path, schema: pa.Schema) -> pa.Table:
    """The rows that `write_patch` wrote: [K].

    Args:
        schema: the version's `segment_schema`.

    Raises:
        InvalidData: the file is missing, damaged or of other products.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise InvalidData("missing; the store is damaged", file=file) from None
    at = schema.get_field_index(VECTOR)
    rows = _rows(content, schema.remove(at), str(file))
    _require_revisions(rows, 0, 0, str(file))
    if any(rows[ROW_DELETED].to_pylist()):
        raise InvalidData("damaged: it deletes products", file=file)
    return rows


def rows_after(rows: pa.Table, number: int) -> pa.Table:
    """The rows that were written after a revision."""
    newer = array_of(rows, ROW_REVISION) > number
    return rows if newer.all() else taken(rows, np.flatnonzero(newer))


def last_rows(rows: pa.Table) -> pa.Table:
    """The last row of each product, in order of application."""
    last = {name: row for row, name in enumerate(rows["product_id"].to_pylist())}
    return rows if len(last) == rows.num_rows else taken(rows, np.array(sorted(last.values())))


def array_of(rows: pa.Table, column: str) -> NDArray[Any]:
    """A column of numbers or booleans without nulls: [K]."""
    values = rows[column].combine_chunks()
    return mask(values) if pa.types.is_boolean(values.type) else vector(values)


def _content(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    # Null vectors take as much space as others, and no space once they are compressed.
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_file(sink, rows.schema.remove_metadata(), options=options) as writer:
        writer.write_table(rows.combine_chunks().replace_schema_metadata(None))
    return bytes(sink.getvalue())


def _rows(content: bytes, schema: pa.Schema, file: str) -> pa.Table:
    try:
        rows = pa.ipc.open_file(pa.py_buffer(content)).read_all()
        rows.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        first = str(error).partition("\n")[0]
        raise InvalidData(f"truncated or damaged, or no Arrow file: {first}", file=file) from None
    if not rows.schema.equals(schema):
        raise InvalidData(f"its columns are not those of the version: {_difference(rows.schema, schema)}", file=file)
    _require_ids(rows, file)
    _require_values(rows, file)
    return rows


def _difference(found: pa.Schema, expected: pa.Schema) -> str:
    mine, theirs = ({(field.name, str(field.type)) for field in schema} for schema in (found, expected))
    name, kind = min(mine ^ theirs, default=("", "in another order"))
    return f"{name} {kind}".strip()


def _require_ids(rows: pa.Table, file: str) -> None:
    ids = rows["product_id"].to_pylist()
    if None in ids or len(set(ids)) != len(ids):
        raise InvalidData("damaged: expected one row for each product_id", file=file, field="product_id")


def _require_values(rows: pa.Table, file: str) -> None:
    for name in (ROW_DELETED, ROW_TIME, ROW_REVISION):
        if rows[name].null_count:
            raise InvalidData("damaged: a row has no value", file=file, field=name)
    deleted = array_of(rows, ROW_DELETED)
    for name in (TEXT_HASH, ROW_HASH):
        if (present(rows[name].combine_chunks()) == deleted).any():
            raise InvalidData("damaged: expected a hash for each row that is no tombstone", file=file, field=name)
    if VECTOR in rows.column_names and not np.isfinite(matrix(rows[VECTOR], rows[VECTOR].type.list_size)).all():
        raise InvalidData("damaged: a vector is not finite", file=file, field=VECTOR)


def _require_revisions(rows: pa.Table, lowest: int, highest: int, file: str) -> None:
    revisions = array_of(rows, ROW_REVISION)
    if ((revisions < lowest) | (revisions > highest)).any():
        raise InvalidData(f"damaged: expected revisions {lowest} to {highest}", file=file, field=ROW_REVISION)
