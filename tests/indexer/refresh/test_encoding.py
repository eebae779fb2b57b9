"""A shard is encoded once, and nothing that is no vector gets past it."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from indexer.refresh.encoding import (
    EncodingJob,
    ShardEncoder,
    encode_here,
    fragments_of,
    is_done,
    require_sound,
    unsound,
)
from indexer.refresh.shards import POSITION, Shard
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.product_table import POPULARITY, table_schema
from indexer.versions.version import read_version
from ubm_embed.errors import QualityGateFailed
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.checkpoint import model_id_of


def test_a_vector_is_sound_within_a_thousandth_of_length_1() -> None:
    vectors = np.zeros((7, 4), np.float32)
    vectors[:, 2] = [1, -1.0005, 0.9995, 1.002, 0, np.nan, np.inf]
    assert unsound(vectors).tolist() == [3, 4, 5, 6]
    assert unsound(vectors[:3]).size == 0


def test_the_first_product_without_a_vector_is_named() -> None:
    vectors, ids = np.eye(4, dtype=np.float32), pl.Series(["a", "b", "c", "d"])
    require_sound(vectors, ids)
    vectors[2:] *= 3
    told = r"2 of 4 vectors .* that of product 'c' has length 3, expected at most 0; no option"
    with pytest.raises(QualityGateFailed, match=told):
        require_sound(vectors, ids)


@pytest.fixture
def opened(store: Path) -> EmbeddingStore:
    return EmbeddingStore.open(store)


@pytest.fixture
def job(store: Path, model_folder: Path, opened: EmbeddingStore) -> EncodingJob:
    return EncodingJob(str(store), model_id_of(model_folder), read_version(opened).table_version, True, "cpu")


def stage(store: EmbeddingStore, job: EncodingJob, key: str, rows: pl.DataFrame, positions: list[int | None]) -> Shard:
    staged = rows.with_columns(pl.lit(0, pl.Int64).alias(POPULARITY), pl.Series(POSITION, positions, pl.Int64))
    with store.storage.write_folder(f"staging/{job.model_id}", last=f"{key}.parquet") as aside:
        staged.write_parquet(aside / f"{key}.parquet")
    return Shard(key, rows.height, positions.count(None))


def committed(store: EmbeddingStore, job: EncodingJob, shard: Shard) -> np.ndarray:
    """The vectors of a shard's rows, in order."""
    rows = pl.read_parquet(Path(job.store) / "staging" / job.model_id / f"{shard.key}.parquet").drop(POSITION)
    fragments = fragments_of(store, job.model_id, [shard])
    version = store.table.replace(fragments, table_schema(rows, 16), model_id=job.model_id)
    assert store.table.read(version)["product_id"].equals(rows["product_id"])
    return store.table.vectors(version, np.arange(shard.rows))


@pytest.mark.parametrize("positions", [[None, None, None], [5, 0, 7], [None, 0, None], [2, None, 2]])
def test_rows_are_encoded_or_take_their_vector_from_where_it_stands(
    opened: EmbeddingStore, job: EncodingJob, model_folder: Path, products: pl.DataFrame, positions: list[int | None]
) -> None:
    shard = stage(opened, job, "k", products[3:6], positions)
    assert not is_done(opened, job.model_id, shard)
    ShardEncoder(job).encode("k")
    assert is_done(opened, job.model_id, shard)
    vectors = Embedder.from_pretrained(model_folder).embed_products(products)
    expected = vectors[
        [row if position is None else position for row, position in zip((3, 4, 5), positions, strict=True)]
    ]
    np.testing.assert_allclose(committed(opened, job, shard), expected, atol=1e-6)


def test_without_a_row_to_encode_no_model_is_needed(
    opened: EmbeddingStore, job: EncodingJob, products: pl.DataFrame
) -> None:
    opened.storage.remove("models")
    shard = stage(opened, job, "k", products[:2], [0, 1])
    encode_here(job, [shard], lambda *_, **__: None)
    assert is_done(opened, job.model_id, shard)


@pytest.mark.parametrize("damage", ["record", "no record", "rows"])
def test_a_shard_that_was_damaged_since_is_not_done(
    opened: EmbeddingStore, job: EncodingJob, store: Path, products: pl.DataFrame, damage: str
) -> None:
    before = set((store / "products.lance" / "data").iterdir())
    shard = stage(opened, job, "k", products[:2], [None, None])
    encode_here(job, [shard], lambda *_, **__: None)
    if damage == "record":
        opened.storage.write(f"staging/{job.model_id}/k.json", b"{}")
    elif damage == "no record":
        opened.storage.remove(f"staging/{job.model_id}/k.json")
    else:
        for file in set((store / "products.lance" / "data").iterdir()) - before:
            file.unlink()
    assert not is_done(opened, job.model_id, shard)
