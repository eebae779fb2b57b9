"""A store of a model with a product tower: one model made its vectors, another searches them, and no third one does."""

import gc
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest

from indexer.refresh.refresh import build_index
from indexer.search.ranking import Rules
from indexer.search.retriever import Retriever
from indexer.storage.local_storage import LocalStorage
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.version import read_version
from ubm_embed.data.corpus import iter_products
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.errors import Conflict, InvalidData
from ubm_embed.inference.embedder import Embedder
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.folder import PRODUCT_TOWER, model_id_of

SESSION = Session((Interaction(Action.VIEW, product_id="p1"), Interaction(Action.SEARCH, query="red")))


@pytest.fixture
def towers(tmp_path: Path, session_model_folder: Path, products_file: Path) -> Path:
    """A store built from a model with a product tower."""
    build_index(model=session_model_folder, products=products_file, store=tmp_path / "towers")
    return tmp_path / "towers"


@pytest.fixture
def kept(towers: Path, session_model_folder: Path) -> Path:
    """The store's copy of the model."""
    return towers / "models" / model_id_of(session_model_folder)


def read(session: Session, products: pl.DataFrame) -> Session:
    """The session with its product in full."""
    full = Interaction(Action.VIEW, product=next(iter_products(products)))
    return Session((full, *session.interactions[1:]))


def test_its_vectors_are_those_of_the_product_tower(towers: Path, model_folder: Path, products: pl.DataFrame) -> None:
    expected = Embedder.from_pretrained(model_folder).embed_products(products)
    opened = EmbeddingStore.open(towers)
    version = read_version(opened)
    vectors = opened.table.vectors(version.table_version, np.arange(8))
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert version.product_model_id == model_id_of(model_folder) != version.model_id


def test_sessions_are_read_by_the_session_tower(
    towers: Path, session_model_folder: Path, model_folder: Path, products: pl.DataFrame
) -> None:
    opened = Checkpoint.from_pretrained(session_model_folder)
    alone = Embedder(Checkpoint(opened.model, opened.tokenizer, opened.model_id))
    products_tower = Embedder.from_pretrained(model_folder)
    full = [read(SESSION, products)]
    vector = alone.embed_sessions(full)[0]
    assert np.abs(vector - products_tower.embed_sessions(full)[0]).max() > 0.01, "the towers are two models"
    scores = products_tower.embed_products(products) @ vector
    answer = Retriever.open(towers).recommend(SESSION, 8, rules=Rules(exclude_seen=False, counts=False, words=False))
    order = np.argsort(-scores)
    assert [match.product_id for match in answer.matches] == [f"p{row + 1}" for row in order]
    np.testing.assert_allclose(np.array([match.score for match in answer.matches]), scores[order], atol=1e-5)
    assert answer.model_id == opened.model_id


def test_a_lookup_is_read_by_the_product_tower(towers: Path, products: pl.DataFrame) -> None:
    answer = Retriever.open(towers).lookup(list(iter_products(products))[4], 1, Rules(words=False))
    assert answer.matches[0].product_id == "p5"
    assert answer.matches[0].score == pytest.approx(1, abs=1e-5)


def test_a_downloaded_product_tower_stays_until_nobody_needs_it(
    towers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def downloaded(storage: LocalStorage, folder: str) -> Iterator[Path]:
        with TemporaryDirectory(dir=tmp_path, prefix="downloaded") as temporary:
            yield Path(shutil.copytree(storage.path / folder, temporary, dirs_exist_ok=True))

    monkeypatch.setattr(LocalStorage, "open_folder", downloaded)
    retriever = Retriever.open(towers)
    assert retriever.lookup(Product("red shoes"), 1).matches
    del retriever
    gc.collect()
    assert not list(tmp_path.glob("downloaded*"))


def test_the_store_keeps_both(kept: Path, session_model_folder: Path) -> None:
    names = [file.relative_to(session_model_folder) for file in session_model_folder.rglob("*") if file.is_file()]
    assert {name.parent.name for name in names} >= {"", PRODUCT_TOWER}
    assert all((kept / name).read_bytes() == (session_model_folder / name).read_bytes() for name in names)


def test_another_product_tower_is_refused(towers: Path, kept: Path, other_model_folder: Path) -> None:
    shutil.rmtree(kept / PRODUCT_TOWER)
    shutil.copytree(other_model_folder, kept / PRODUCT_TOWER)
    with pytest.raises(Conflict, match=r"product_tower is model \w+, expected"):
        Retriever.open(towers)


def test_a_missing_product_tower_is_named(towers: Path, kept: Path) -> None:
    shutil.rmtree(kept / PRODUCT_TOWER)
    with pytest.raises(InvalidData, match=r"version 1 needs this model: .*product_tower.* is missing"):
        Retriever.open(towers)


@pytest.mark.parametrize("damage", ["missing", "another"])
def test_the_next_build_mends_the_copy(
    towers: Path, kept: Path, session_model_folder: Path, other_model_folder: Path, products_file: Path, damage: str
) -> None:
    before = Retriever.open(towers).recommend(SESSION).matches
    shutil.rmtree(kept / PRODUCT_TOWER)
    if damage == "another":
        shutil.copytree(other_model_folder, kept / PRODUCT_TOWER)
    build_index(model=session_model_folder, products=products_file, store=towers)
    assert Retriever.open(towers).recommend(SESSION).matches == before
