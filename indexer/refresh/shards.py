"""The rows that a refresh writes, cut into shards; each is encoded and written on its own, once, by any worker.

staging/<model_id>/<key>.parquet    a shard's rows
staging/<model_id>/<key>.json       {"fragments": [...], "runtime": ...}: the shard is encoded, and where its rows are

A shard's key is a hash of its contents and of the model. A refresh that is started again after a crash therefore finds
the shards that are done, and one that reads another catalogue does not take them for its own.

Letters: M products of the catalogue, K rows of a shard, D width.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import blake2b

import numpy as np
import polars as pl
from pydantic import AliasChoices, Field

from indexer.refresh.gates import Gate, GateResult, require_passed
from indexer.refresh.model_copy import open_model_copy
from indexer.refresh.plan import Plan
from indexer.storage.storage import Storage
from indexer.store.embedding_store import EmbeddingStore, staging_folder
from indexer.store.table_schema import POPULARITY, ROW_HASH, TEXT_HASH
from ubm_embed.data.arrays import BoolArray, FloatArray, IntArray
from ubm_embed.errors import InvalidData
from ubm_embed.inference.embedder import Embedder
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.progress import Progress, silent
from ubm_embed.validation import FrozenModel

# Row of the live version that a product's vector is copied from; null if the product is encoded. No column of a shop
# has this name: see `require_storable`.
LIVE_ROW = "_row_position"
# The vector that a revision has of a product, with its text; null for other products, and missing without any.
LIVE_VECTOR = "_row_vector"
# Far above the rounding of float32: what this finds is NaN, zero, or never normalised.
LENGTH_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Shard:
    """Some rows to write.

    Attributes:
        key: a hash of its contents.
        rows: number of rows, K.
        to_encode: number of rows that the model has to encode.
    """

    key: str
    rows: int
    to_encode: int


class ShardRecord(FrozenModel):
    """The record that a shard is encoded.

    Attributes:
        fragments: fragments of the table with the shard's rows, as JSON.
        runtime: what encoded the shard; None if all its vectors were copied.
    """

    fragments: tuple[str, ...]
    # Older software called it "encoder", and before that wrote no name because PyTorch was the only one.
    runtime: str | None = Field(default=RuntimeName.TORCH, validation_alias=AliasChoices("runtime", "encoder"))


@dataclass(frozen=True)
class EncodingJob:
    """Everything a worker needs to know, wherever it runs.

    Attributes:
        store: path or URI of the store; every worker must reach it.
        model_id: the model, of which the store has a copy.
        reuse: version of the table that the vectors of rows that are not encoded are copied from.
        rewrite: whether the whole table is written again.
        device: "auto" takes a GPU if there is one.
        runtime: the text runtime, a `RuntimeName`; None for what reads the model on the device.
    """

    store: str
    model_id: str
    reuse: int | None
    rewrite: bool
    device: str = "auto"
    runtime: str | None = None


# Encodes shards: every shard it is given is done when it returns. Progress counts encoded products.
ExecutionEngine = Callable[[EncodingJob, Sequence[Shard], Progress], None]


def stage_shards(store: EmbeddingStore, plan: Plan, *, rows: int) -> Iterator[Shard]:
    """Stage the rows that the plan writes, `rows` to a shard.

    Raises:
        Conflict: the catalogue changed since it was scanned.
        NotFound, InvalidData: as `CatalogueScan.read`.
    """
    for frame in _regrouped(_rows_to_write(plan), rows):
        key = _key(frame, plan)
        name = rows_file(plan.model_id, key)
        if not store.storage.exists(name):
            buffer = io.BytesIO()
            frame.write_parquet(buffer)
            store.storage.write(name, buffer.getvalue())
        yield Shard(key, frame.height, int(_to_encode(frame).sum()))


def read_shard(storage: Storage, model_id: str, key: str) -> pl.DataFrame:
    """The rows of a shard, with their hashes, `LIVE_ROW` and perhaps `LIVE_VECTOR`."""
    return pl.read_parquet(io.BytesIO(storage.read(rows_file(model_id, key))))


def table_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of a shard with the table's columns only."""
    return rows.drop(LIVE_ROW, LIVE_VECTOR, strict=False)


def _to_encode(rows: pl.DataFrame) -> BoolArray:
    """Which rows of a shard the model has to encode."""
    missing = rows[LIVE_ROW].is_null()
    return (missing & rows[LIVE_VECTOR].is_null() if LIVE_VECTOR in rows.columns else missing).to_numpy()


def rows_file(model_id: str, key: str) -> str:
    """Name of the file that holds the rows of a shard."""
    return f"{staging_folder(model_id)}/{key}.parquet"


def record_file(model_id: str, key: str) -> str:
    """Name of the file that records that a shard is encoded."""
    return f"{staging_folder(model_id)}/{key}.json"


def _rows_to_write(plan: Plan) -> Iterator[pl.DataFrame]:
    """Batches of the rows to write, with the table's columns and `LIVE_ROW`, and perhaps vectors of a revision."""
    changes = plan.changes
    for rows, batch in plan.scan.rows(plan.write):
        encode = plan.encode[rows] | changes.table_text_differs[rows]
        live_row = pl.Series(LIVE_ROW, changes.table_rows[rows].astype(np.int64)).set(pl.Series(encode), None)
        batch = batch.with_columns(pl.Series(POPULARITY, changes.popularity[rows]), live_row)
        revised = np.flatnonzero(encode & ~plan.encode[rows])
        yield batch if not revised.size else batch.with_columns(_revised_vectors(plan, rows, revised))


def _revised_vectors(plan: Plan, rows: IntArray, revised: IntArray) -> pl.Series:
    """Vectors that a revision has of these of the rows; null for the others."""
    assert plan.rows is not None, "a revision is of live products"
    vectors = plan.rows.appended_vectors(plan.changes.positions[rows[revised]])
    known = pl.DataFrame({"row": revised, LIVE_VECTOR: vectors}, schema_overrides={"row": pl.Int64})
    every = pl.DataFrame({"row": np.arange(rows.size)})
    return every.join(known, on="row", how="left", maintain_order="left")[LIVE_VECTOR]


def _regrouped(batches: Iterator[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """The same rows in frames of `rows`; the last may be shorter."""
    waiting: list[pl.DataFrame] = []
    for batch in batches:
        waiting.append(batch)
        while sum(frame.height for frame in waiting) >= rows:
            joined = pl.concat(waiting, how="diagonal")
            yield joined.head(rows)
            waiting = [joined.slice(rows)]
    if waiting and (rest := pl.concat(waiting, how="diagonal")).height:
        yield rest


def _key(frame: pl.DataFrame, plan: Plan) -> str:
    rewrite = plan.rewrite_reason is not None
    digest = blake2b(f"{plan.model_id} {plan.reuse} {rewrite} {frame.schema}".encode(), digest_size=12)
    # As text: a column's binary form depends on how it happens to be chunked.
    contents = frame.select("product_id", pl.col(TEXT_HASH).bin.encode("hex"), ROW_HASH, POPULARITY, LIVE_ROW)
    digest.update(contents.write_csv().encode())
    if LIVE_VECTOR in frame.columns:
        digest.update(frame[LIVE_VECTOR].is_null().to_numpy().tobytes())
    return digest.hexdigest()


class ShardEncoder:
    """Encodes the shards of a job one by one. The model is loaded when the first row needs it."""

    def __init__(self, job: EncodingJob) -> None:
        self.job = job
        self.store = EmbeddingStore.from_uri(job.store)

    def encode(self, key: str, progress: Progress = silent) -> None:
        """Write a shard's rows and vectors beside the table, then the record that it is encoded.

        Raises:
            QualityGateFailed: a vector is not of length 1, or the runtime's vectors differ from float32's.
            InvalidData, Conflict: the store's copy of the model is missing or damaged.
            NotFound: the runtime's library is not installed.
            OSError: the disk is full, or the like.
        """
        rows = read_shard(self.store.storage, self.job.model_id, key)
        vectors = self._vectors(rows, progress)
        require_unit_length(vectors, rows["product_id"])
        fragments = self.store.table.write_fragments(table_rows(rows), vectors, overwrite=self.job.rewrite)
        runtime = self.embedder.runtime if _to_encode(rows).any() else None
        record = ShardRecord(fragments=tuple(fragments), runtime=runtime)
        self.store.storage.write(record_file(self.job.model_id, key), record.model_dump_json().encode())

    def _vectors(self, rows: pl.DataFrame, progress: Progress) -> FloatArray:
        """Each row's vector, encoded or copied from the live version: [K, D]."""
        to_encode, live_row = _to_encode(rows), rows[LIVE_ROW]
        parts: list[tuple[BoolArray, FloatArray]] = []
        if to_encode.any():
            parts.append(
                (to_encode, self.embedder.embed_products(rows.filter(pl.Series(to_encode)), progress=progress))
            )
        if live_row.null_count() < rows.height:
            assert self.job.reuse is not None, "vectors are only copied from a version that exists"
            copied = self.store.table.vectors(self.job.reuse, live_row.drop_nulls().to_numpy())
            parts.append((live_row.is_not_null().to_numpy(), copied))
        if LIVE_VECTOR in rows.columns:
            revised = rows[LIVE_VECTOR].is_not_null()
            parts.append((revised.to_numpy(), rows[LIVE_VECTOR].filter(revised).to_numpy()))
        vectors = np.empty((rows.height, parts[0][1].shape[1]), np.float32)
        for where, part in parts:
            vectors[where] = part
        return vectors

    @cached_property
    def embedder(self) -> Embedder:
        """The model, opened from the store's copy, which is proven to be that model."""
        with open_model_copy(self.store, self.job.model_id) as model:
            return Embedder(model, device=self.job.device, runtime=self.job.runtime)


def encode_locally(job: EncodingJob, shards: Sequence[Shard], progress: Progress) -> None:
    """Encode shards one by one in this process; an `ExecutionEngine`."""
    encoder = ShardEncoder(job)
    total, done = sum(shard.to_encode for shard in shards), 0
    for shard in shards:
        encoder.encode(shard.key, partial(_report, progress, done, total))
        done += shard.to_encode


def _report(progress: Progress, done: int, total: int, what: str, in_shard: int, of_shard: int, note: str = "") -> None:
    """Report progress within a shard as progress of the whole job."""
    progress("encoding products", done + in_shard, total, note)


def is_encoded(store: EmbeddingStore, model_id: str, shard: Shard) -> bool:
    """Whether a shard was encoded, by this run or an interrupted one, and the files of its rows are still there."""
    try:
        record = _read_record(store, model_id, shard)
    except InvalidData:
        return False
    return store.table.has_files(record.fragments)


def fragments_of(store: EmbeddingStore, model_id: str, shards: Sequence[Shard]) -> list[str]:
    """The table fragments of encoded shards, for a commit."""
    return [fragment for shard in shards for fragment in _read_record(store, model_id, shard).fragments]


def runtimes_of(store: EmbeddingStore, model_id: str, shards: Sequence[Shard]) -> set[str]:
    """The runtimes that encoded the shards; a shard whose vectors were all copied has none."""
    runtimes = (_read_record(store, model_id, shard).runtime for shard in shards)
    return {runtime for runtime in runtimes if runtime is not None}


def _read_record(store: EmbeddingStore, model_id: str, shard: Shard) -> ShardRecord:
    name = record_file(model_id, shard.key)
    try:
        return ShardRecord.from_json(store.storage.read(name), file=f"{store.uri}/{name}")
    except FileNotFoundError:
        raise InvalidData("missing; the shard is not encoded", file=f"{store.uri}/{name}") from None


def require_unit_length(vectors: FloatArray, product_ids: pl.Series) -> None:
    """Raise unless every vector is finite and of length 1; a damaged model yields NaN or zero."""
    bad = not_unit_length(vectors)
    if bad.size:
        length = np.linalg.norm(vectors[bad[0]])
        first = f"that of product {product_ids[int(bad[0])]!r} has length {length:g}"
        message = f"{bad.size} of {len(vectors)} vectors are not of length 1, so the model may be damaged: {first}"
        require_passed([GateResult(Gate.VECTORS, bad.size, 0, True, message)], ())


def not_unit_length(vectors: FloatArray) -> IntArray:
    """Rows of vectors [K, D] that are not finite and of length 1."""
    lengths = np.sqrt(np.einsum("md,md->m", vectors, vectors))
    return np.flatnonzero(~(np.abs(lengths - 1) <= LENGTH_TOLERANCE))
