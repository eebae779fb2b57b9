"""A shard is encoded once, and only with vectors that are finite and of length 1."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from indexer.refresh.shards import (
    LIVE_ROW,
    EncodingJob,
    Shard,
    ShardEncoder,
    encode_locally,
    fragments_of,
    is_encoded,
    not_unit_length,
    require_unit_length,
)
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.table_schema import POPULARITY, table_schema
from indexer.versions.version import read_version
from ubm_embed.errors import Conflict, QualityGateFailed
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.folder import model_id_of


def test_lengths_within_a_thousandth_of_1_pass() -> None:
    vectors = np.zeros((7, 4), np.float32)
    vectors[:, 2] = [1, -1.0005, 0.9995, 1.002, 0, np.nan, np.inf]
    assert not_unit_length(vectors).tolist() == [3, 4, 5, 6]
    assert not_unit_length(vectors[:3]).size == 0


def test_the_first_product_with_a_bad_vector_is_named() -> None:
    vectors, ids = np.eye(4, dtype=np.float32), pl.Series(["a", "b", "c", "d"])
    require_unit_length(vectors, ids)
    vectors[2:] *= 3
    message = r"2 of 4 vectors .* that of product 'c' has length 3, expected at most 0; no option"
    with pytest.raises(QualityGateFailed, match=message):
        require_unit_length(vectors, ids)


@pytest.fixture
def opened(store: Path) -> EmbeddingStore:
    return EmbeddingStore.open(store)


@pytest.fixture
def job(store: Path, model_folder: Path, opened: EmbeddingStore) -> EncodingJob:
    return EncodingJob(str(store), model_id_of(model_folder), read_version(opened).table_version, True, "cpu")


def stage(store: EmbeddingStore, job: EncodingJob, key: str, rows: pl.DataFrame, live_rows: list[int | None]) -> Shard:
    staged = rows.with_columns(pl.lit(0, pl.Int64).alias(POPULARITY), pl.Series(LIVE_ROW, live_rows, pl.Int64))
    with store.storage.write_folder(f"staging/{job.model_id}", last=f"{key}.parquet") as aside:
        staged.write_parquet(aside / f"{key}.parquet")
    return Shard(key, rows.height, live_rows.count(None))


def committed(store: EmbeddingStore, job: EncodingJob, shard: Shard) -> np.ndarray:
    """The vectors of a shard's rows, in order."""
    rows = pl.read_parquet(Path(job.store) / "staging" / job.model_id / f"{shard.key}.parquet").drop(LIVE_ROW)
    fragments = fragments_of(store, job.model_id, [shard])
    version = store.table.replace(fragments, table_schema(rows, 16), model_id=job.model_id)
    assert store.table.read(version)["product_id"].equals(rows["product_id"])
    return store.table.vectors(version, np.arange(shard.rows))


@pytest.mark.parametrize("live_rows", [[None, None, None], [5, 0, 7], [None, 0, None], [2, None, 2]])
def test_rows_are_encoded_or_copy_their_vector_from_the_live_version(
    opened: EmbeddingStore, job: EncodingJob, model_folder: Path, products: pl.DataFrame, live_rows: list[int | None]
) -> None:
    shard = stage(opened, job, "k", products[3:6], live_rows)
    assert not is_encoded(opened, job.model_id, shard)
    ShardEncoder(job).encode("k")
    assert is_encoded(opened, job.model_id, shard)
    vectors = Embedder.from_pretrained(model_folder).embed_products(products)
    expected = vectors[
        [row if live_row is None else live_row for row, live_row in zip((3, 4, 5), live_rows, strict=True)]
    ]
    np.testing.assert_allclose(committed(opened, job, shard), expected, atol=1e-6)


def test_no_model_is_needed_if_no_row_is_encoded(
    opened: EmbeddingStore, job: EncodingJob, products: pl.DataFrame
) -> None:
    opened.storage.remove("models")
    shard = stage(opened, job, "k", products[:2], [0, 1])
    encode_locally(job, [shard], lambda *_, **__: None)
    assert is_encoded(opened, job.model_id, shard)


def test_a_damaged_copy_of_the_model_encodes_nothing(
    opened: EmbeddingStore, job: EncodingJob, products: pl.DataFrame, store: Path
) -> None:
    """In this process as in a worker's."""
    weights = store / "models" / job.model_id / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 4
    weights.write_bytes(content)
    shard = stage(opened, job, "k", products[:2], [None, 0])
    with pytest.raises(Conflict, match=f"holds model .*, not {job.model_id}"):
        encode_locally(job, [shard], lambda *_, **__: None)
    assert not is_encoded(opened, job.model_id, shard)


@pytest.mark.parametrize("damage", ["record", "no record", "rows"])
def test_a_shard_damaged_since_does_not_count_as_encoded(
    opened: EmbeddingStore, job: EncodingJob, store: Path, products: pl.DataFrame, damage: str
) -> None:
    before = set((store / "products.lance" / "data").iterdir())
    shard = stage(opened, job, "k", products[:2], [None, None])
    encode_locally(job, [shard], lambda *_, **__: None)
    if damage == "record":
        opened.storage.write(f"staging/{job.model_id}/k.json", b"{}")
    elif damage == "no record":
        opened.storage.remove(f"staging/{job.model_id}/k.json")
    else:
        for file in set((store / "products.lance" / "data").iterdir()) - before:
            file.unlink()
    assert not is_encoded(opened, job.model_id, shard)
