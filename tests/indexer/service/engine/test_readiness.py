"""A version is ready only if its parts agree, its vectors are its model's, and a query comes back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from indexer.index.kinds import FLAT, kind_from_name
from indexer.index.vector_index import VectorIndex
from indexer.refresh.refresh import build_index
from indexer.search.live_retriever import LiveRetriever
from indexer.search.retriever import Retriever
from indexer.service.engine.readiness import problems, require_ready
from tests.indexer.exchanged_tokenizer import exchange_tokens
from tests.indexer.service.engine.conftest import publish
from ubm_embed.data.arrays import FloatArray, unit_rows
from ubm_embed.data.session import Product
from ubm_embed.errors import InvalidData
from ubm_embed.inference.embedder import Embedder


@pytest.fixture
def retriever(store: Path) -> Retriever:
    return Retriever.open(store, device="cpu")


def with_vectors(retriever: Retriever, vectors: FloatArray, kind: Any = FLAT) -> Retriever:
    index = VectorIndex.build([vectors], kind=kind)
    return Retriever(retriever.version, retriever.embedder, index, retriever.catalogue)


def vectors_of(retriever: Retriever) -> FloatArray:
    return retriever.index.vectors(np.arange(len(retriever.index)))


def test_a_published_version_is_ready(retriever: Retriever) -> None:
    assert problems(retriever) == []
    require_ready(retriever)


def test_so_is_one_with_vectors_of_half_precision(retriever: Retriever) -> None:
    assert problems(with_vectors(retriever, vectors_of(retriever), kind_from_name("fp16"))) == []


def test_so_is_one_of_few_products_without_popularity(tmp_path: Path, model_folder: Path) -> None:
    products = pl.DataFrame({"product_id": ["1", "2"], "title": ["red shoes", "鞋"]})
    products.write_parquet(tmp_path / "two.parquet")
    build_index(model=model_folder, products=tmp_path / "two.parquet", store=tmp_path / "two")
    with Retriever.open(tmp_path / "two", device="cpu") as opened:
        assert problems(opened) == []


@pytest.mark.parametrize("change", ["another model's", "shifted", "not numbers"])
def test_vectors_that_are_not_the_models_are_found(retriever: Retriever, change: str) -> None:
    vectors = vectors_of(retriever)
    if change == "shifted":
        vectors = np.roll(vectors, 1, axis=0)
    elif change == "not numbers":
        vectors = np.full_like(vectors, np.nan)
    else:
        noise = np.random.default_rng(0).standard_normal(vectors.shape, np.float32)
        vectors = noise / np.linalg.norm(noise, axis=1, keepdims=True)
    (problem,) = problems(with_vectors(retriever, vectors))[:1]
    assert problem.startswith("a product's vector is not the model's: their cosine is")


def test_rows_that_are_not_indexed_are_found(retriever: Retriever) -> None:
    version = retriever.version.model_copy(update={"products": 9})
    incomplete = Retriever(version, retriever.embedder, retriever.index, retriever.catalogue)
    assert problems(incomplete) == ["it has 9 rows, and 8 are indexed"]
    with pytest.raises(InvalidData, match="version 1: it has 9 rows, and 8 are indexed"):
        require_ready(incomplete)


def test_products_that_are_not_found_are_named(retriever: Retriever, monkeypatch: pytest.MonkeyPatch) -> None:
    search = VectorIndex.search
    monkeypatch.setattr(VectorIndex, "search", lambda index, queries, k, *rest: search(index, -queries, k, *rest))
    assert "8 of 8 products are not found by their own vectors" in problems(retriever)


def test_a_model_that_was_changed_is_found_by_the_canaries(store: Path) -> None:
    (model,) = (store / "models").iterdir()
    exchange_tokens(model)
    with Retriever.open(store, device="cpu") as changed:
        (problem,) = problems(changed)
        assert problem.startswith("the model makes other vectors than when the version was published")
        with pytest.raises(InvalidData, match="version 1: the model makes other vectors"):
            require_ready(changed)


def test_vectors_that_changed_a_little_are_logged(
    retriever: Retriever, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    embed = Embedder.embed_product_list

    def turned(embedder: Embedder, products: Sequence[Product]) -> FloatArray:
        vectors = embed(embedder, products)
        return unit_rows(vectors + np.float32(0.05) * np.roll(vectors, 1, axis=1))

    monkeypatch.setattr(Embedder, "embed_product_list", turned)
    assert problems(retriever) == []
    assert "version 1: the model makes other vectors than when the version was published" in caplog.text


def test_another_versions_index_is_found_with_canaries_too(retriever: Retriever) -> None:
    index = VectorIndex.build([np.roll(vectors_of(retriever), 1, axis=0)])
    parts = retriever.version, retriever.embedder, index, retriever.catalogue
    (problem,) = problems(Retriever(*parts, canaries=retriever.canaries))
    assert problem.startswith("a product's vector is not the model's: their cosine is")


def test_canaries_of_another_version_are_found(retriever: Retriever) -> None:
    assert retriever.canaries is not None
    parts = retriever.version, retriever.embedder, retriever.index, retriever.catalogue
    foreign = retriever.canaries.replace(b'"product_id": "p1"', b'"product_id": "gone"')
    assert problems(Retriever(*parts, canaries=foreign)) == ["it lacks products of its canaries"]


def test_a_version_by_older_software_is_checked_without_canaries(retriever: Retriever) -> None:
    parts = retriever.version, retriever.embedder, retriever.index, retriever.catalogue
    assert problems(Retriever(*parts)) == []


def test_a_version_that_is_not_ready_does_not_take_over(nights: Path) -> None:
    verified: list[int] = []

    def verify(retriever: Retriever) -> None:
        verified.append(retriever.version.version)
        if retriever.version.version == 2:
            raise InvalidData("not ready")

    errors: list[Exception] = []
    with LiveRetriever(nights, device="cpu", interval=None, verify=verify, on_error=errors.append) as live:
        publish(nights, 2)
        assert not live.check()
        assert live.version.version == 3
        assert [str(error) for error in errors] == [str(live.error)] == ["not ready"]
        publish(nights, 1)
        assert live.check()
    assert verified == [3, 2, 1]
