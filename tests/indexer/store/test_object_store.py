"""A store on an object store, a real S3 API on loopback: built, searched, refreshed, rolled back, repaired, pruned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import lancedb
import polars as pl
import pytest

from indexer.health.doctor import examine
from indexer.health.repair import repair
from indexer.index.index_request import IndexRequest
from indexer.refresh.refresh import build_index, refresh
from indexer.refresh.settings import RefreshSettings
from indexer.refresh.shards import EncodingJob, Shard, encode_locally
from indexer.search.answer import Match
from indexer.search.ranking import Rules
from indexer.search.retriever import Retriever
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.live import live_number
from indexer.versions.pruning import KeepPolicy, prune
from indexer.versions.rollback import roll_back
from tests.indexer.same_answers import assert_same_matches
from ubm_embed.data.session import Action, Interaction, Session
from ubm_embed.errors import Conflict, InvalidData, NotFound
from ubm_embed.progress import Progress

SESSION = Session((Interaction(Action.VIEW, product_id="p1"), Interaction(Action.SEARCH, query="red")))
SETTINGS = RefreshSettings(shard_rows=3)


def recommend(store: str | Path, **options: bool) -> tuple[Match, ...]:
    return Retriever.open(store, **options).recommend(SESSION, 8).matches


@pytest.fixture
def changed_file(tmp_path: Path, products_file: Path) -> Path:
    rows = pl.read_parquet(products_file).filter(pl.col("product_id") != "p4")
    rows.with_columns(price=pl.col("price") + 1).write_parquet(tmp_path / "changed.parquet")
    return tmp_path / "changed.parquet"


@pytest.fixture
def remote(bucket_uri: str, model_folder: Path, products_file: Path) -> str:
    build_index(model=model_folder, products=products_file, store=bucket_uri, settings=SETTINGS)
    return bucket_uri


def test_it_answers_as_a_local_store_does(remote: str, store: Path) -> None:
    assert_same_matches(recommend(remote), recommend(store, counts=False))  # the one in the bucket has none


def test_a_refresh_writes_the_graphs_that_the_copy_of_the_model_lacks(remote: str, changed_file: Path) -> None:
    storage = EmbeddingStore.open(remote).storage
    (model_id,) = storage.list("models")
    graphs, before = f"models/{model_id}/graphs", set(storage.list(f"models/{model_id}/graphs"))
    storage.remove(graphs)
    refresh(products=changed_file, store=remote, settings=SETTINGS)
    assert set(storage.list(graphs)) == before
    assert not examine(remote)


def test_an_index_on_disk_is_one_in_the_bucket(
    bucket_uri: str, tmp_path: Path, model_folder: Path, products_file: Path
) -> None:
    rows = pl.concat([pl.read_parquet(products_file)] * 45).with_columns(
        product_id=pl.format("p{}", pl.int_range(1, 361))
    )
    rows.write_parquet(tmp_path / "many.parquet")
    settings = RefreshSettings(index=IndexRequest(index="disk", recall=0.1), shard_rows=400, gate_queries=5)
    build_index(model=model_folder, products=tmp_path / "many.parquet", store=bucket_uri, settings=settings)
    opened = Retriever.open(bucket_uri)
    assert opened.version.kind == "disk"
    matches = opened.recommend(SESSION, 8, Rules(where="price > 3")).matches
    assert len(matches) == 8
    assert all(match.fields["price"] > 3 for match in matches)
    assert opened.lookup_id("p360", 3).matches
    rows.tail(350).write_parquet(tmp_path / "fewer.parquet")
    fewer = RefreshSettings(shard_rows=400, gate_queries=5)
    report = refresh(products=tmp_path / "fewer.parquet", store=bucket_uri, settings=fewer)
    assert (report.changes.removed, report.encoded) == (10, 0)
    assert len(Retriever.open(bucket_uri).recommend(SESSION, 400).matches) == 350
    assert not examine(bucket_uri)


def test_it_is_a_lancedb_table(remote: str) -> None:
    assert lancedb.connect(remote).open_table("products").count_rows() == 8


def test_it_is_refreshed_and_rolled_back(remote: str, changed_file: Path) -> None:
    before = recommend(remote)
    report = refresh(products=changed_file, store=remote, settings=SETTINGS)
    assert report.published is not None
    assert (report.changes.updated, report.changes.removed, report.encoded) == (7, 1, 0)
    assert refresh(products=changed_file, store=remote, settings=SETTINGS).published is None
    after = recommend(remote)
    assert {match.fields["price"] for match in after} == {
        match.fields["price"] + 1 for match in before if match.product_id != "p4"
    }
    assert roll_back(EmbeddingStore.open(remote)).now.version == 1
    assert_same_matches(recommend(remote), before)


def test_a_new_model_takes_over_and_the_old_one_goes_with_its_versions(
    remote: str, products_file: Path, other_model_folder: Path
) -> None:
    report = refresh(products=products_file, store=remote, model=other_model_folder, allow=["neighbours"])
    assert report.encoded == 8
    opened = EmbeddingStore.open(remote)
    assert len(opened.storage.list("models")) == 2
    with opened.write_lock():
        result = prune(opened, KeepPolicy(versions=1))
    assert result.versions == (1,)
    assert result.bytes > 0
    assert len(opened.storage.list("models")) == 1
    assert len(recommend(remote)) == 7
    assert examine(remote) == []


def test_a_version_that_another_writer_made_live_is_not_overwritten(remote: str, changed_file: Path) -> None:
    refresh(products=changed_file, store=remote, settings=SETTINGS)

    def roll_back_meanwhile(job: EncodingJob, shards: Sequence[Shard], progress: Progress) -> None:
        encode_locally(job, shards, progress)
        roll_back(EmbeddingStore.open(remote))

    rows = pl.read_parquet(changed_file).with_columns(title=pl.lit("red ") + pl.col("product_id"))
    rows.write_parquet(changed_file)
    with pytest.raises(Conflict):
        refresh(products=changed_file, store=remote, allow=["neighbours", "centroid"], engine=roll_back_meanwhile)
    assert live_number(EmbeddingStore.open(remote)) == 1


def test_a_second_writer_is_refused(remote: str, changed_file: Path) -> None:
    with EmbeddingStore.open(remote).write_lock(), pytest.raises(Conflict):
        refresh(products=changed_file, store=remote)


def test_a_damaged_index_is_named_by_its_uri_and_repaired(remote: str) -> None:
    before = recommend(remote)
    storage = EmbeddingStore.open(remote).storage
    storage.write("versions/1/index.faiss", storage.read("versions/1/index.faiss")[:-100])
    with pytest.raises(InvalidData, match=f"^{remote}/versions/1/index.faiss: truncated or damaged"):
        Retriever.open(remote)
    (finding,) = examine(remote)
    assert finding.remedy == f"ubm-embed doctor --repair --store {remote}"
    assert [version.version for version in repair(remote)] == [1]
    assert_same_matches(recommend(remote), before)


def test_an_empty_bucket_is_refused_with_the_command_to_build_a_store(bucket_uri: str) -> None:
    with pytest.raises(NotFound, match=f"build-index --model DIR --products FILE --store {bucket_uri}"):
        Retriever.open(bucket_uri)
