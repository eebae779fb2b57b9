"""Canaries are the same whenever they are made, and tell of vectors and matches that are not what they were."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from indexer.index.vector_index import VectorIndex
from indexer.refresh.refresh import build_index, refresh
from indexer.search.canaries import Canaries, CanaryCheck, check_canaries
from indexer.search.retriever import Retriever
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.rollback import roll_back
from indexer.versions.version import CANARIES_FILE, digest_of, read_version
from tests.indexer.exchanged_tokenizer import exchange_tokens
from ubm_embed.data.session import Action, Product
from ubm_embed.errors import InvalidData, NotFound
from ubm_embed.inference import embedder as embedding
from ubm_embed.inference.embedder import Embedder

LONG = "x" * 20_000


@pytest.fixture
def retriever(store: Path) -> Retriever:
    return Retriever.open(store, device="cpu")


def canaries_of(retriever: Retriever) -> Canaries:
    assert retriever.canaries is not None
    return Canaries.from_json(retriever.canaries, file=CANARIES_FILE)


def check(retriever: Retriever) -> CanaryCheck:
    found = check_canaries(retriever)
    assert found is not None
    return found


def changed(retriever: Retriever, **fields: Any) -> Retriever:
    """The same version with other content in its file of canaries."""
    assert retriever.canaries is not None
    content = json.dumps(json.loads(retriever.canaries) | fields).encode()
    parts = retriever.version, retriever.embedder, retriever.index, retriever.catalogue
    return Retriever(*parts, canaries=content)


class TestTheFile:
    def test_holds_products_of_the_catalogue_and_sessions_of_them_in_full(self, retriever: Retriever) -> None:
        canaries = canaries_of(retriever)
        positions = [*retriever.catalogue.find(str(product.product_id) for product in canaries.products).values()]
        assert [*canaries.products] == [*retriever.catalogue.products(positions).values()]
        assert (len(canaries.products), len(canaries.sessions)) == (8, 4)
        for session in canaries.sessions:
            queries = [one.query for one in session.interactions if one.action is Action.SEARCH]
            assert queries
            assert all(queries)
            assert {one.product for one in session.interactions} - {None} <= {*canaries.products}

    def test_holds_their_vectors_and_matches(self, retriever: Retriever) -> None:
        canaries, embedder = canaries_of(retriever), retriever.embedder
        vectors = np.frombuffer(canaries.product_vectors, "<f4").reshape(8, -1)
        np.testing.assert_allclose(vectors, embedder.embed_product_list(canaries.products), atol=1e-6)
        sessions = embedder.embed_sessions(canaries.sessions)
        exact = sessions @ retriever.index.vectors(np.arange(8)).T
        ids = [retriever.catalogue.values("product_id", np.argsort(-row)) for row in exact]
        assert [list(one) for one in canaries.matches] == [list(one) for one in ids]

    def test_is_the_same_whenever_it_is_made(self, store: Path, retriever: Retriever) -> None:
        made = Canaries.make(retriever.embedder, retriever.index, retriever.catalogue)
        assert made is not None
        assert made.to_bytes() == retriever.canaries
        version = read_version(EmbeddingStore.open(store))
        assert version.files[CANARIES_FILE] == digest_of(made.to_bytes())

    def test_a_refresh_and_a_rollback_keep_each_versions_own(self, nights: Path) -> None:
        roll_back(EmbeddingStore.open(nights), 2)
        for number, title in ((1, "red shirt 1"), (2, "red shirt 2"), (3, "red shirt 3")):
            with Retriever.open(nights, version=number, device="cpu") as opened:
                assert title in [product.title for product in canaries_of(opened).products]
                assert not check(opened).has_changed

    def test_leaves_out_very_long_texts_and_unreadable_ones(self, tmp_path: Path, model_folder: Path) -> None:
        frame = pl.DataFrame({"product_id": ["1", "2", "3"], "title": ["red shoes", LONG, "鞋"]})
        frame.write_parquet(tmp_path / "three.parquet")
        build_index(model=model_folder, products=tmp_path / "three.parquet", store=tmp_path / "three")
        with Retriever.open(tmp_path / "three", device="cpu") as opened:
            assert canaries_of(opened).products == (Product("red shoes", product_id="1"),)
            assert not check(opened).has_changed

    def test_is_missing_where_nothing_can_be_read(self, tmp_path: Path, model_folder: Path) -> None:
        pl.DataFrame({"product_id": ["1"], "title": ["鞋"]}).write_parquet(tmp_path / "one.parquet")
        build_index(model=model_folder, products=tmp_path / "one.parquet", store=tmp_path / "one")
        with Retriever.open(tmp_path / "one", device="cpu") as opened:
            assert opened.canaries is None
            assert check_canaries(opened) is None

    def test_is_missing_where_no_library_reads_the_model(
        self, nights: Path, catalogue: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*args: object) -> None:
            raise NotFound("not installed")

        file = catalogue(3)
        pl.read_parquet(file).with_columns(price=pl.lit(4.5)).write_parquet(file)
        monkeypatch.setattr(embedding, "open_model_runtime", refuse)
        published = refresh(products=file, store=nights).published
        assert published is not None
        assert CANARIES_FILE not in published.files

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"products": []}, "must have products"),
            ({"matches": []}, "matches for each session"),
            ({"product_vectors": base64.b64encode(b"1234").decode()}, "must have vectors of one width"),
            ({"sessions": [{"interactions": [{"action": "view"}]}]}, "needs product_id or product"),
        ],
    )
    def test_damage_is_named_and_only_who_reads_it_stops(
        self, retriever: Retriever, fields: dict[str, Any], message: str
    ) -> None:
        damaged = changed(retriever, **fields)
        with pytest.raises(InvalidData, match=rf"versions/1/canaries.json.*{message}"):
            check_canaries(damaged)
        assert damaged.lookup_id("p1").matches


class TestACheck:
    def test_of_an_untouched_version(self, retriever: Retriever) -> None:
        found = check(retriever)
        assert found.cosine == pytest.approx(1, abs=1e-6)
        assert found.overlap == 1
        assert not found.has_changed
        assert not found.is_unfit
        assert found.environment_changes == ()

    def test_of_an_exchanged_tokenizer(self, store: Path) -> None:
        (model,) = (store / "models").iterdir()
        exchange_tokens(model)
        found = check(Retriever.open(store, device="cpu"))
        assert found.is_unfit
        assert "the model makes other vectors than when the version was published" in found.problem
        assert found.problem.endswith("libraries and processor are the same, so a file was changed")

    def test_of_another_library(self, retriever: Retriever) -> None:
        environment = dict(canaries_of(retriever).environment) | {"tokenizers": "0.0.1"}
        found = check(changed(retriever, environment=environment))
        assert not found.has_changed
        (change,) = found.environment_changes
        assert change.startswith("tokenizers 0.0.1 is now ")
        assert found.problem.endswith(change)

    @pytest.mark.parametrize("damage", [np.zeros(1024, np.float32), np.full(1024, np.nan, np.float32)])
    def test_of_vectors_that_are_not_its_own(self, retriever: Retriever, damage: np.ndarray) -> None:
        size = len(canaries_of(retriever).product_vectors)
        content = base64.urlsafe_b64encode(damage.tobytes()[:size]).decode()
        assert check(changed(retriever, product_vectors=content)).is_unfit

    def test_of_another_width(self, retriever: Retriever) -> None:
        canaries = canaries_of(retriever)
        half = {
            name: base64.urlsafe_b64encode(getattr(canaries, name)[: len(getattr(canaries, name)) // 2]).decode()
            for name in ("product_vectors", "session_vectors")
        }
        found = check(changed(retriever, **half))
        assert found.cosine == 0
        assert found.is_unfit

    def test_of_other_matches(self, tmp_path: Path, model_folder: Path, products: pl.DataFrame) -> None:
        many = pl.concat(
            [
                products.with_columns(pl.col("product_id") + f"-{copy}", title=pl.col("title") + f" {copy}")
                for copy in range(5)
            ]
        )
        many.write_parquet(tmp_path / "many.parquet")
        build_index(model=model_folder, products=tmp_path / "many.parquet", store=tmp_path / "many")
        opened = Retriever.open(tmp_path / "many", device="cpu")
        vectors = opened.index.vectors(np.arange(40))
        foreign = VectorIndex.build([np.roll(vectors, 20, axis=0)])
        found = check(Retriever(opened.version, opened.embedder, foreign, opened.catalogue, canaries=opened.canaries))
        assert found.has_changed
        assert found.cosine == pytest.approx(1, abs=1e-6)
        assert "the index finds other products than when the version was published" in found.problem

    def test_a_product_tower_reads_the_products(
        self, tmp_path: Path, session_model_folder: Path, model_folder: Path, products_file: Path
    ) -> None:
        build_index(model=session_model_folder, products=products_file, store=tmp_path / "towers")
        with Retriever.open(tmp_path / "towers", device="cpu") as opened:
            canaries = canaries_of(opened)
            tower = Embedder.from_pretrained(model_folder, device="cpu")
            vectors = np.frombuffer(canaries.product_vectors, "<f4").reshape(8, -1)
            np.testing.assert_allclose(vectors, tower.embed_product_list(canaries.products), atol=1e-6)
            assert not check(opened).has_changed
