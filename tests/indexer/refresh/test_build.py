"""A build makes a whole version from a model and a catalogue."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from indexer.catalogue.mapped_catalogue import CATALOGUE_FILES, MappedCatalogue
from indexer.counts.counts_file import COUNTS_FILE
from indexer.index import vector_index as index
from indexer.lexical.words_file import WORDS_FILE
from indexer.refresh.refresh import build_index
from indexer.refresh.settings import RefreshSettings
from indexer.search.retriever import Retriever
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.live import live_number, version_numbers
from indexer.versions.version import CANARIES_FILE, LAYOUT, StoreVersion, read_version, require_digests
from tests.indexer.refresh.shop import SESSION, VECTOR_ATOL, answer_of, stored
from ubm_embed.errors import NotFound
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.folder import model_id_of


def test_a_version_describes_itself(store: Path, model_folder: Path) -> None:
    version = read_version(EmbeddingStore.open(store))
    assert version.version == 1
    assert version.model_id == model_id_of(model_folder)
    assert (version.kind, version.metric, version.dimension) == ("flat", "inner_product", 16)
    assert (version.products, version.indexed, version.recall_at_10) == (8, 8, 1.0)
    assert version.source == "products.parquet"
    assert version.created.endswith("+00:00")
    assert (version.base, version.product_model_id) == (None, None)
    assert version.changes == {"new": 8, "changed": 0, "updated": 0, "unchanged": 0, "removed": 0, "encoded": 8}
    assert version.uniformity is not None
    assert version.uniformity < 0
    assert version.alignment is not None  # there are interactions
    assert set(version.gates) >= {"vectors", "indexed", "recall", "uniformity"}
    assert all(gate["passed"] for gate in version.gates.values())
    hashes = {"text_hashes.npy", "row_hashes.npy", "popularity.npy"}
    others = {"probes.npz", CANARIES_FILE, COUNTS_FILE, WORDS_FILE}
    assert set(version.files) == {index.INDEX_FILE, *CATALOGUE_FILES, *hashes, *others}
    assert version.layout == LAYOUT
    require_digests(version, store / "versions" / "1")


def test_the_store_keeps_the_model(store: Path, model_folder: Path) -> None:
    def contents(folder: Path) -> dict[Path, bytes]:
        return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    assert contents(store / "models" / model_id_of(model_folder)) == contents(model_folder)


def test_vectors_are_those_of_the_model(store: Path, model_folder: Path, products: pl.DataFrame) -> None:
    rows, vectors = stored(store)
    expected = Embedder.from_pretrained(model_folder).embed_products(products)
    np.testing.assert_allclose(vectors, expected, atol=VECTOR_ATOL)
    assert rows["product_id"].equals(products["product_id"])


def test_rows_are_those_of_the_catalogue(store: Path, products_file: Path) -> None:
    catalogue = pl.read_parquet(products_file)
    assert stored(store)[0].select(catalogue.columns).equals(catalogue)


def test_popularity_counts_a_products_interactions(store: Path) -> None:
    counts = dict(stored(store)[0].select("product_id", "popularity").iter_rows())
    assert counts == {"p1": 0, "p2": 1, "p3": 3, "p4": 0, "p5": 1, "p6": 0, "p7": 0, "p8": 0}


def test_progress_counts_the_products_of_all_shards(tmp_path: Path, model_folder: Path, products_file: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    build_index(
        model=model_folder,
        products=products_file,
        store=tmp_path / "s",
        settings=RefreshSettings(shard_rows=3),
        progress=lambda what, done, total, note="": seen.append((what, done, total)),
    )
    assert {(what, total) for what, _, total in seen} == {("encoding products", 8)}
    assert {3, 6, 8} <= {done for _, done, _ in seen}
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_a_rebuild_replaces_the_live_version(store: Path, model_folder: Path, products_file: Path) -> None:
    before = answer_of(store)
    fewer = pl.read_parquet(products_file).filter(pl.col("product_id") != before["matches"][0]["product_id"])
    fewer.write_parquet(products_file)
    version = build_index(model=model_folder, products=products_file, store=store)
    after = answer_of(store)
    assert version.version == after["version"] == 2
    ids = {match["product_id"] for match in after["matches"]}
    assert ids == {match["product_id"] for match in before["matches"][1:]}
    assert Retriever.open(store, version=1).recommend(SESSION, 20).to_dict()["matches"] == before["matches"]


def test_another_model_brings_its_own_vectors(store: Path, other_model_folder: Path, products_file: Path) -> None:
    reader, before = Retriever.open(store), answer_of(store)
    version = build_index(model=other_model_folder, products=products_file, store=store)
    after = answer_of(store)
    assert after["model_id"] == version.model_id == model_id_of(other_model_folder) != before["model_id"]
    # A reader that opened the old version goes on with the old model over the old vectors.
    assert reader.recommend(SESSION, 20).to_dict()["matches"] == before["matches"] != after["matches"]
    assert Retriever.open(store, version=1).version.model_id == before["model_id"]


def test_a_damaged_copy_of_the_model_is_replaced(
    store: Path, model_folder: Path, products_file: Path, interactions_file: Path
) -> None:
    before = answer_of(store)
    copy = store / "models" / model_id_of(model_folder)
    (copy / "config.json").unlink()
    build_index(model=model_folder, products=products_file, interactions=interactions_file, store=store)
    assert answer_of(store)["matches"] == before["matches"]


def test_ids_are_in_the_order_of_their_vectors(store: Path) -> None:
    rows, vectors = stored(store)
    folder = store / "versions" / "1"
    catalogue = MappedCatalogue.open(folder, 8)
    assert catalogue.values("product_id", np.arange(8)) == rows["product_id"].to_list()
    assert (index.VectorIndex.load(folder / index.INDEX_FILE).vectors(np.arange(8)) == vectors).all()


@pytest.mark.parametrize("shard_rows", [1, 3, 8])
def test_the_size_of_shards_does_not_change_the_result(
    store: Path, tmp_path: Path, model_folder: Path, products_file: Path, interactions_file: Path, shard_rows: int
) -> None:
    build_index(
        model=model_folder,
        products=products_file,
        interactions=interactions_file,
        store=tmp_path / "cut",
        settings=RefreshSettings(shard_rows=shard_rows),
    )
    (rows, vectors), (rows_of_cut, vectors_of_cut) = stored(store), stored(tmp_path / "cut")
    assert rows_of_cut.equals(rows)
    np.testing.assert_allclose(vectors_of_cut, vectors, atol=VECTOR_ATOL)


def test_nothing_is_left_in_staging(store: Path) -> None:
    assert not (store / "staging").exists()
    assert {entry.name for entry in store.iterdir() if not entry.name.startswith(".")} == {
        "live.json",
        "models",
        "products.lance",
        "versions",
    }


def test_an_interrupted_build_resumes(
    store: Path, other_model_folder: Path, products_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    embed, limit = Embedder.embed_products, 6

    def counted(self: Embedder, products: pl.DataFrame, **options: Any) -> Any:
        if len(encoded) + products.height > limit:
            raise OSError("power cut")
        encoded.extend(products["product_id"])
        return embed(self, products, **options)

    def build_it() -> StoreVersion:
        settings = RefreshSettings(shard_rows=2)
        return build_index(model=other_model_folder, products=products_file, store=store, settings=settings)

    monkeypatch.setattr(Embedder, "embed_products", counted)
    with pytest.raises(OSError, match="power cut"):
        build_it()
    assert live_number(EmbeddingStore.open(store)) == 1
    limit = 8
    build_it()
    assert encoded == [f"p{row}" for row in range(1, 9)]
    rows, vectors = stored(store, 2)
    monkeypatch.undo()
    np.testing.assert_allclose(
        vectors, Embedder.from_pretrained(other_model_folder).embed_products(rows), atol=VECTOR_ATOL
    )


def test_old_versions_are_pruned(
    store: Path, model_folder: Path, other_model_folder: Path, products_file: Path
) -> None:
    for model in (model_folder, other_model_folder, other_model_folder):
        build_index(model=model, products=products_file, store=store)
    assert version_numbers(EmbeddingStore.open(store)) == [3, 4]
    assert [folder.name for folder in (store / "models").iterdir()] == [model_id_of(other_model_folder)]
    with pytest.raises(NotFound, match=r"no version 2 in .*; known versions: 3, 4"):
        Retriever.open(store, version=2)
