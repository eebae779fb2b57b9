"""The store's copy of a model has graphs: its own, or those that a build or a refresh writes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from indexer.refresh import model_copy
from indexer.refresh.refresh import build_index, refresh
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.live import live_number
from tests.indexer.refresh.shop import answer_of
from ubm_embed.counts.ranking_weights import COUNTS_FILE, CountWeights
from ubm_embed.errors import InvalidData
from ubm_embed.model.folder import GRAPHS, PRODUCT_TOWER

GRAPH_FILES = {"graphs.json", "interactions.onnx", "sessions.onnx"}


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch is not installed, as far as a refresh can tell."""
    monkeypatch.setattr(model_copy, "find_spec", lambda name: None)


def copies(store: Path) -> list[Path]:
    return sorted((store / "models").iterdir())


def graphs_of(folder: Path) -> set[str]:
    return {file.name for file in (folder / GRAPHS).glob("*") if file.suffix != ".weights"}


def damage(folder: Path) -> Path:
    """Change a byte of a graph, and return its file."""
    file = folder / GRAPHS / "sessions.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return file


def test_a_build_writes_the_graphs_that_its_model_lacks(
    session_model_folder: Path, products_file: Path, tmp_path: Path
) -> None:
    for folder in (session_model_folder, session_model_folder / PRODUCT_TOWER):
        shutil.rmtree(folder / GRAPHS)
    build_index(model=session_model_folder, products=products_file, store=tmp_path / "s")
    (copy,) = copies(tmp_path / "s")
    assert graphs_of(copy) >= GRAPH_FILES
    assert graphs_of(copy / PRODUCT_TOWER) >= GRAPH_FILES
    assert not (session_model_folder / GRAPHS).exists(), "the model of others is left as it is"


def test_a_refresh_writes_them_for_a_store_of_older_software(nights: Path, catalogue: Callable[[int], Path]) -> None:
    (copy,) = copies(nights)
    shutil.rmtree(copy / GRAPHS)
    refresh(products=catalogue(4), store=nights)
    assert copies(nights) == [copy]
    assert graphs_of(copy) >= GRAPH_FILES


@pytest.mark.usefixtures("no_torch")
def test_without_pytorch_a_notice_says_so_and_the_copy_stays(nights: Path, catalogue: Callable[[int], Path]) -> None:
    (copy,) = copies(nights)
    shutil.rmtree(copy / GRAPHS)
    notices: list[str] = []
    refresh(products=catalogue(4), store=nights, notice=notices.append)
    assert any("has no graphs" in notice for notice in notices)
    assert not (copy / GRAPHS).exists()


def test_damaged_graphs_are_written_again(nights: Path, catalogue: Callable[[int], Path]) -> None:
    (copy,) = copies(nights)
    sound = (copy / GRAPHS / "sessions.onnx").read_bytes()
    damage(copy)
    refresh(products=catalogue(4), store=nights)
    assert (copy / GRAPHS / "sessions.onnx").read_bytes() == sound


@pytest.mark.usefixtures("no_torch")
def test_damaged_graphs_encode_nothing_until_the_model_is_given_again(
    nights: Path, catalogue: Callable[[int], Path], model_folder: Path
) -> None:
    (copy,) = copies(nights)
    file, before = damage(copy), live_number(EmbeddingStore.open(nights))
    with pytest.raises(InvalidData, match=r"sessions\.onnx: damaged") as refused:
        refresh(products=catalogue(4), store=nights)
    assert str(file) in str(refused.value)
    assert live_number(EmbeddingStore.open(nights)) == before
    refresh(products=catalogue(4), store=nights, model=model_folder)
    assert answer_of(nights)["version"] == before + 1


def test_a_copy_follows_what_counts_weigh_in_the_model_that_is_given(
    nights: Path, model_folder: Path, catalogue: Callable[[int], Path]
) -> None:
    (copy,) = copies(nights)
    weights = CountWeights(by_seen=(0.3,), backward=1.0)
    weights.save(model_folder)
    refresh(model=model_folder, products=catalogue(4), store=nights)
    assert copies(nights) == [copy]
    assert CountWeights.load(copy) == weights
    (copy / COUNTS_FILE).write_text("{", "utf-8")
    refresh(model=model_folder, products=catalogue(3), store=nights)
    assert CountWeights.load(copy) == weights, "a damaged one is mended, too"
    (model_folder / COUNTS_FILE).unlink()
    refresh(model=model_folder, products=catalogue(4), store=nights)
    assert not (copy / COUNTS_FILE).exists()


def test_damaged_weights_of_counts_are_named_and_not_copied(
    nights: Path, model_folder: Path, catalogue: Callable[[int], Path]
) -> None:
    (model_folder / COUNTS_FILE).write_text("{", "utf-8")
    with pytest.raises(InvalidData, match=COUNTS_FILE):
        refresh(model=model_folder, products=catalogue(4), store=nights)
    assert not (copies(nights)[0] / COUNTS_FILE).exists()
