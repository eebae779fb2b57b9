"""kill -9 at every step of a refresh: the old answers or the new ones, whole, and the next refresh completes."""

from __future__ import annotations

import functools
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from indexer.health.doctor import Severity, examine
from indexer.index.index_request import IndexRequest
from indexer.refresh import publication
from indexer.refresh.refresh import build_index, refresh
from indexer.refresh.settings import RefreshSettings
from indexer.search.retriever import Retriever
from indexer.storage.local_storage import LocalStorage
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.product_table import ProductTable
from indexer.versions.live import live_number
from ubm_embed.data.session import Action, Interaction, Session
from ubm_embed.inference.embedder import Embedder

SESSION = Session((Interaction(Action.VIEW, product_id="p1"), Interaction(Action.SEARCH, query="red")))
# Three products a shard: a refresh then has several.
SETTINGS = RefreshSettings(shard_rows=3)

# All that changes anything on disk, and the encoding between.
STEPS: list[tuple[Any, str]] = [
    (os, "replace"),
    (shutil, "rmtree"),
    (LocalStorage, "write"),
    (LocalStorage, "compare_and_swap"),
    (LocalStorage, "remove"),
    (LocalStorage, "fsync"),
    (Embedder, "embed_products"),
    *((ProductTable, name) for name in ("write_fragments", "replace", "append", "remove", "restore", "compact")),
    *((ProductTable, name) for name in ("pin", "unpin", "clean")),
]
# What an index on disk adds, and where it becomes live.
FEW = 5  # questions to tune it with: it takes milliseconds to answer one
STEPS_ON_DISK: list[tuple[Any, str]] = [
    *((ProductTable, name) for name in ("drop_indexes", "index_vectors", "pin")),
    (LocalStorage, "compare_and_swap"),
]


def answer(store: Path) -> dict[str, Any]:
    """What the live version answers, without the time it took and the version's number."""
    found = Retriever.open(store, device="cpu").recommend(SESSION, 20).to_dict()
    return {name: value for name, value in found.items() if name not in ("took_ms", "version")}


def bring_up_to_date(store: Path, products: Path, model: Path | None) -> Any:
    return refresh(store=store, products=products, model=model, settings=SETTINGS, allow=["neighbours", "centroid"])


def killed(store: Path, products: Path, model: Path | None, at: int, steps: list[tuple[Any, str]] = STEPS) -> None:
    """In a process of its own: a refresh that is killed just before or after its `at`-th step."""
    passed = 0

    def step() -> None:
        nonlocal passed
        if passed == at:
            os.kill(os.getpid(), signal.SIGKILL)
        passed += 1

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            step()
            result = function(*arguments, **options)
            step()
            return result

        return call

    publication._QUERIES = FEW
    for owner, name in steps:
        setattr(owner, name, watched(getattr(owner, name)))
    bring_up_to_date(store, products, model)


@pytest.fixture(scope="module")
def forkserver() -> Any:
    """Processes that have all imported already: a fresh one would take seconds for each of some hundred kills."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["torch", "lancedb", "lance", "faiss", "indexer.refresh.refresh", "indexer.search.retriever"]
    )
    return context


@pytest.fixture
def changed_file(tmp_path: Path, products_file: Path) -> Path:
    """The toy shop's catalogue a night later: one product new, one with another text, one cheaper, one gone."""
    rows = pl.read_parquet(products_file)
    new = rows.head(1).with_columns(product_id=pl.lit("p9"), title=pl.lit("red running boots"))
    named = pl.col("product_id")
    rows = rows.filter(named != "p4").with_columns(
        title=pl.when(named == "p7").then(pl.lit("red socks")).otherwise("title"),
        price=pl.when(named == "p2").then(pl.lit(0.5)).otherwise("price"),
    )
    pl.concat([rows, new]).write_parquet(tmp_path / "changed.parquet")
    return tmp_path / "changed.parquet"


@pytest.mark.parametrize("takes_over", [False, True], ids=["same model", "another model"])
def test_a_refresh_killed_at_any_step_leaves_the_old_answers_or_the_new_whole(
    tmp_path: Path,
    model_folder: Path,
    other_model_folder: Path,
    products_file: Path,
    changed_file: Path,
    forkserver: Any,
    takes_over: bool,
) -> None:
    pristine, finished = tmp_path / "pristine", tmp_path / "finished"
    build_index(model=model_folder, products=products_file, store=pristine, settings=SETTINGS)
    model = other_model_folder if takes_over else None
    shutil.copytree(pristine, finished)
    bring_up_to_date(finished, changed_file, model)
    before, after = answer(pristine), answer(finished)
    assert before != after

    outcomes = []
    for at in range(1000):
        store = tmp_path / f"killed_{at}"
        shutil.copytree(pristine, store)
        process = forkserver.Process(target=killed, args=(store, changed_file, model, at))
        process.start()
        process.join(timeout=60)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL, f"step {at}"
        live = live_number(EmbeddingStore.open(store))
        outcomes.append(live)
        assert answer(store) == (before if live == 1 else after), f"step {at}"
        assert not [found for found in examine(store) if found.severity is Severity.ERROR], f"step {at}"
        bring_up_to_date(store, changed_file, model)
        assert answer(store) == after, f"step {at}"
        again = bring_up_to_date(store, changed_file, None)
        assert again.published is None, f"step {at}"
        assert not list(store.rglob("*.partial")), f"step {at}"
        assert sorted(os.listdir(store / "models")) == sorted(os.listdir(finished / "models")), f"step {at}"
        shutil.rmtree(store)
    # Some died before publishing and some after it; never was there a third thing.
    assert set(outcomes) == {1, 2}
    assert outcomes == sorted(outcomes)
    assert len(outcomes) > 30


def test_a_refresh_of_an_index_on_disk_killed_at_any_of_its_steps(
    tmp_path: Path, model_folder: Path, products_file: Path, forkserver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "_QUERIES", FEW)
    pristine, finished, many, night = (tmp_path / name for name in ("pristine", "finished", "a.parquet", "b.parquet"))
    rows = pl.concat([pl.read_parquet(products_file)] * 50)
    rows = rows.with_columns(
        product_id=pl.format("p{}", pl.int_range(1, 401)), title=pl.format("{} {}", "title", "price")
    )
    rows.write_parquet(many)
    rows.tail(380).with_columns(price=pl.col("price") + 1).write_parquet(night)
    index = IndexRequest(index="disk", recall=0.1)
    build_index(
        model=model_folder, products=many, store=pristine, settings=replace(SETTINGS, index=index, shard_rows=400)
    )
    shutil.copytree(pristine, finished)
    bring_up_to_date(finished, night, None)
    before, after = answer(pristine), answer(finished)
    assert before != after

    outcomes = []
    for at in range(100):
        store = tmp_path / f"killed_{at}"
        shutil.copytree(pristine, store)
        process = forkserver.Process(target=killed, args=(store, night, None, at, STEPS_ON_DISK))
        process.start()
        process.join(timeout=60)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL, f"step {at}"
        outcomes.append(live_number(EmbeddingStore.open(store)))
        assert answer(store) == (before if outcomes[-1] == 1 else after), f"step {at}"
        assert not [found for found in examine(store) if found.severity is Severity.ERROR], f"step {at}"
        bring_up_to_date(store, night, None)
        assert answer(store) == after, f"step {at}"
        shutil.rmtree(store)
    assert set(outcomes) == {1, 2}
    assert outcomes == sorted(outcomes)
    assert len(outcomes) >= 8


def test_what_was_encoded_before_a_kill_is_not_encoded_again(
    tmp_path: Path, model_folder: Path, other_model_folder: Path, products_file: Path, forkserver: Any
) -> None:
    store = tmp_path / "store"
    build_index(model=model_folder, products=products_file, store=store, settings=SETTINGS)
    process = forkserver.Process(target=killed_while_encoding, args=(store, products_file, other_model_folder))
    process.start()
    process.join(timeout=60)
    assert process.exitcode == -signal.SIGKILL
    done = bring_up_to_date(store, products_file, other_model_folder)
    assert (done.encoded, done.resumed) == (8, 6)


def killed_while_encoding(store: Path, products: Path, model: Path) -> None:
    """In a process of its own: a refresh that is killed when it begins its third shard."""
    embed, begun = Embedder.embed_products, 0

    def embed_or_die(*arguments: Any, **options: Any) -> Any:
        nonlocal begun
        begun += 1
        if begun == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return embed(*arguments, **options)

    Embedder.embed_products = embed_or_die  # type: ignore[method-assign]
    bring_up_to_date(store, products, model)
