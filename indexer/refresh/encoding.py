"""Shards to rows with vectors beside the table, by a worker that knows nothing but the store.

Letters: K rows of a shard, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import polars as pl

from indexer.refresh.gates import Gate, Measured, require_passed
from indexer.refresh.shards import POSITION, Shard, read_shard, record_file
from indexer.storage.json_record import as_bytes, parse_record, read_record
from indexer.store.embedding_store import EmbeddingStore, model_folder
from ubm_embed.data.arrays import FloatArray
from ubm_embed.errors import InvalidData
from ubm_embed.inference.embedder import Embedder
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.progress import Progress, silent

LENGTH_TOLERANCE = 1e-3


@dataclass(frozen=True)
class EncodingJob:
    """All that a worker needs, wherever it runs.

    Attributes:
        store: path or URI of the store; every worker must reach it.
        model_id: the model, of which the store has a copy.
        base: version of the table that the vectors of rows that are not encoded are taken from.
        anew: whether the whole table is written anew.
        device: "auto" takes a GPU where there is one.
        runtime: what reads the texts, a `RuntimeName`.
    """

    store: str
    model_id: str
    base: int | None
    anew: bool
    device: str = "auto"
    runtime: str = "torch"


# How shards are encoded: each of those given is done when it returns; told of progress in encoded products.
Engine = Callable[[EncodingJob, Sequence[Shard], Progress], None]


class ShardEncoder:
    """Encodes shards of one job, one after the other. The model is loaded when the first row needs it."""

    def __init__(self, job: EncodingJob) -> None:
        self.job = job
        self.store = EmbeddingStore.from_uri(job.store)

    def encode(self, key: str, progress: Progress = silent) -> None:
        """Write a shard's rows with their vectors beside the table, then the record that says so.

        Raises:
            QualityGateFailed: a vector is not of length 1, or the runtime's are not those of float32.
            NotFound: the runtime's library is not installed.
            OSError: the disk is full, or the like.
        """
        rows = read_shard(self.store.storage, self.job.model_id, key)
        vectors = self._vectors(rows, progress)
        require_sound(vectors, rows["product_id"])
        fragments = self.store.table.write_fragments(rows.drop(POSITION), vectors, anew=self.job.anew)
        encoded_by = self.embedder.runtime if rows[POSITION].has_nulls() else None
        record = {"fragments": fragments, "runtime": encoded_by}
        self.store.storage.write(record_file(self.job.model_id, key), as_bytes(record))

    def _vectors(self, rows: pl.DataFrame, progress: Progress) -> FloatArray:
        """Each row's vector, encoded or taken from the live version: [K, D]."""
        encoded = rows[POSITION].is_null().to_numpy()
        parts: dict[bool, FloatArray] = {}
        if encoded.any():
            parts[True] = self.embedder.embed_products(rows.filter(pl.Series(encoded)), progress=progress)
        if not encoded.all():
            assert self.job.base is not None, "a vector is only ever taken from a version that there is"
            parts[False] = self.store.table.vectors(self.job.base, rows[POSITION].drop_nulls().to_numpy())
        vectors = np.empty((rows.height, next(iter(parts.values())).shape[1]), np.float32)
        for which, part in parts.items():
            vectors[encoded == which] = part
        return vectors

    @cached_property
    def embedder(self) -> Embedder:
        """The model, from the store's copy."""
        name = model_folder(self.job.model_id)
        try:
            with self.store.storage.open_folder(name) as folder:
                return Embedder.from_pretrained(folder, device=self.job.device, runtime=self.job.runtime)
        except FileNotFoundError:
            problem = "missing; give the model's own folder: ubm-embed refresh --model DIR"
            raise InvalidData(problem, file=f"{self.store.uri}/{name}") from None


def encode_here(job: EncodingJob, shards: Sequence[Shard], progress: Progress) -> None:
    """Encode shards in this process, one after the other."""
    encoder = ShardEncoder(job)
    total, done = sum(shard.to_encode for shard in shards), 0
    for shard in shards:
        encoder.encode(shard.key, partial(_report, progress, done, total))
        done += shard.to_encode


def is_done(store: EmbeddingStore, model_id: str, shard: Shard) -> bool:
    """Whether a shard was encoded, by this refresh or by one that was killed, and its rows are still there."""
    try:
        data = store.storage.read(record_file(model_id, shard.key))
    except FileNotFoundError:
        return False
    try:
        fragments = parse_record(data, file=shard.key)["fragments"]
    except (InvalidData, KeyError):
        return False
    return store.table.has_files(fragments)


def fragments_of(store: EmbeddingStore, model_id: str, shards: Sequence[Shard]) -> list[str]:
    """Where the rows of shards that are encoded are, for a commit."""
    records = (read_record(store.storage, record_file(model_id, shard.key)) for shard in shards)
    return [fragment for record in records for fragment in record["fragments"]]


def runtimes_of(store: EmbeddingStore, model_id: str, shards: Sequence[Shard]) -> set[str]:
    """What read the texts of shards that are encoded; of a shard that had none to read, nothing."""
    records = (read_record(store.storage, record_file(model_id, shard.key)) for shard in shards)
    # Records of older software do not say: it had no other.
    return {
        name
        for record in records
        if (name := record.get("runtime", record.get("encoder", RuntimeName.TORCH))) is not None
    }


def require_sound(vectors: FloatArray, product_ids: pl.Series) -> None:
    """Raise unless every vector is finite and of length 1: NaN and zero come of a damaged model."""
    bad = unsound(vectors)
    if bad.size:
        length = np.linalg.norm(vectors[bad[0]])
        first = f"that of product {product_ids[int(bad[0])]!r} has length {length:g}"
        says = f"{bad.size} of {len(vectors)} vectors are not of length 1, as of a damaged model: {first}"
        require_passed([Measured(Gate.VECTORS, bad.size, 0, True, says)], ())


def unsound(vectors: FloatArray) -> np.ndarray:
    """Rows of vectors [K, D] that are not finite and of length 1."""
    lengths = np.sqrt(np.einsum("md,md->m", vectors, vectors))
    return np.flatnonzero(~(np.abs(lengths - 1) <= LENGTH_TOLERANCE))


def _report(progress: Progress, first: int, all_of_them: int, what: str, done: int, total: int, note: str = "") -> None:
    """Progress within a shard as progress of them all."""
    progress("encoding products", first + done, all_of_them, note)
