"""kill -9 at every step of a refresh: the old answers or the new ones, whole, and the next refresh completes."""

from __future__ import annotations

import functools
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from indexer.health.doctor import Severity, examine
from indexer.index.index_request import IndexRequest
from indexer.refresh.refresh import build_index, refresh
from indexer.refresh.settings import RefreshSettings
from indexer.search.retriever import Retriever
from indexer.storage.local_storage import LocalStorage
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.product_table import ProductTable
from indexer.versions.live import live_number
from tests.indexer.refresh.shop import SESSION, require_same_answer
from ubm_embed.inference.embedder import Embedder

# Some hundred processes are started and killed one after the other, which takes minutes on a busy machine.
pytestmark = pytest.mark.timeout(1800)

# Three products to a shard, so that a refresh has several. Few queries for the gates, since an index on disk takes
# milliseconds for each.
SETTINGS = RefreshSettings(shard_rows=3, gate_queries=5)

# Everything that changes the disk, and the encoding in between.
STEPS: list[tuple[Any, str]] = [
    (os, "replace"),
    (shutil, "rmtree"),
    (LocalStorage, "write"),
    (LocalStorage, "compare_and_swap"),
    (LocalStorage, "remove"),
    (LocalStorage, "fsync"),
    (Embedder, "embed_products"),
    *((ProductTable, name) for name in ("write_fragments", "replace", "append", "remove", "restore", "compact")),
    *((ProductTable, name) for name in ("pin", "unpin", "cleanup")),
]
# The steps that an index on disk adds, and the one that makes it live.
STEPS_ON_DISK: list[tuple[Any, str]] = [
    *((ProductTable, name) for name in ("drop_indexes", "create_indexes", "pin")),
    (LocalStorage, "compare_and_swap"),
]


def answer(store: Path) -> dict[str, Any]:
    """The live version's answer, without the time it took and the version's number."""
    answer = Retriever.open(store, device="cpu").recommend(SESSION, 20).to_dict()
    return {name: value for name, value in answer.items() if name not in ("took_ms", "version")}


def bring_up_to_date(store: Path, products: Path, model: Path | None) -> Any:
    return refresh(store=store, products=products, model=model, settings=SETTINGS, allow=["neighbours", "centroid"])


def killed(store: Path, products: Path, model: Path | None, at: int, steps: list[tuple[Any, str]] = STEPS) -> None:
    """In its own process: a refresh that is killed just before or after one of its steps, the one numbered `at`."""
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

    for owner, name in steps:
        setattr(owner, name, watched(getattr(owner, name)))
    bring_up_to_date(store, products, model)


@pytest.fixture(scope="module")
def forkserver() -> Any:
    """Starts processes that have the imports behind them: fresh ones would take seconds for each of some 100 kills."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["torch", "lancedb", "lance", "faiss", "indexer.refresh.refresh", "indexer.search.retriever"]
    )
    return context


@pytest.fixture
def changed_file(tmp_path: Path, products_file: Path) -> Path:
    """The toy shop's catalogue a night later: one product new, one with another text, one cheaper, one removed."""
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
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL, f"step {at}"
        live = live_number(EmbeddingStore.open(store))
        outcomes.append(live)
        require_same_answer(answer(store), before if live == 1 else after, f"step {at}")
        assert not [finding for finding in examine(store) if finding.severity is Severity.ERROR], f"step {at}"
        bring_up_to_date(store, changed_file, model)
        require_same_answer(answer(store), after, f"step {at}")
        again = bring_up_to_date(store, changed_file, None)
        assert again.published is None, f"step {at}"
        assert not list(store.rglob("*.partial")), f"step {at}"
        assert sorted(os.listdir(store / "models")) == sorted(os.listdir(finished / "models")), f"step {at}"
        shutil.rmtree(store)
    # Some were killed before publishing and some after it, and there was no third outcome.
    assert set(outcomes) == {1, 2}
    assert outcomes == sorted(outcomes)
    assert len(outcomes) > 30


def test_a_refresh_of_an_index_on_disk_killed_at_any_step_leaves_the_old_answers_or_the_new_whole(
    tmp_path: Path, model_folder: Path, products_file: Path, forkserver: Any
) -> None:
    pristine, finished, many, night = (tmp_path / name for name in ("pristine", "finished", "a.parquet", "b.parquet"))
    rows = pl.concat([pl.read_parquet(products_file)] * 50)
    rows = rows.with_columns(
        product_id=pl.format("p{}", pl.int_range(1, 401)), title=pl.format("{} {}", "title", "price")
    )
    rows.write_parquet(many)
    rows.tail(380).with_columns(price=pl.col("price") + 1).write_parquet(night)
    index = IndexRequest(index="disk", recall=0.1)
    settings = RefreshSettings(shard_rows=400, gate_queries=5, index=index)
    build_index(model=model_folder, products=many, store=pristine, settings=settings)
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
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL, f"step {at}"
        outcomes.append(live_number(EmbeddingStore.open(store)))
        require_same_answer(answer(store), before if outcomes[-1] == 1 else after, f"step {at}")
        assert not [finding for finding in examine(store) if finding.severity is Severity.ERROR], f"step {at}"
        bring_up_to_date(store, night, None)
        require_same_answer(answer(store), after, f"step {at}")
        shutil.rmtree(store)
    assert set(outcomes) == {1, 2}
    assert outcomes == sorted(outcomes)
    assert len(outcomes) >= 8


def test_shards_encoded_before_a_kill_are_not_encoded_again(
    tmp_path: Path, model_folder: Path, other_model_folder: Path, products_file: Path, forkserver: Any
) -> None:
    store = tmp_path / "store"
    build_index(model=model_folder, products=products_file, store=store, settings=SETTINGS)
    process = forkserver.Process(target=killed_while_encoding, args=(store, products_file, other_model_folder))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    done = bring_up_to_date(store, products_file, other_model_folder)
    assert (done.encoded, done.resumed) == (8, 6)


def killed_while_encoding(store: Path, products: Path, model: Path) -> None:
    """In its own process: a refresh that is killed when it begins its third shard."""
    embed, begun = Embedder.embed_products, 0

    def embed_or_die(*arguments: Any, **options: Any) -> Any:
        nonlocal begun
        begun += 1
        if begun == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return embed(*arguments, **options)

    Embedder.embed_products = embed_or_die  # type: ignore[method-assign]
    bring_up_to_date(store, products, model)
