"""kill -9 at every step of a refresh: the old answers or the new ones, whole, and the next refresh completes."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from indexer.health.doctor import Severity, examine
from indexer.refresh import refresh
from indexer.refresh.refresh import build_index
from indexer.storage.local_storage import LocalStorage
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.product_table import ProductTable
from indexer.updates.updater import Updater
from indexer.versions.live import live_number
from tests.indexer.refresh.kills import SETTINGS, answer, bring_up_to_date, forkserver, kill_at, killed, killed_stores
from tests.indexer.refresh.shop import require_same_answer
from tests.indexer.updates.live_products import live_products
from ubm_embed.inference.embedder import Embedder

# Some hundred processes are started and killed one after the other, which takes minutes on a busy machine.
pytestmark = pytest.mark.timeout(1800)

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


def killed_at_step(store: Path, products: Path, model: Path | None, at: int) -> None:
    """In its own process, which finds the steps here: modules are among them, and those cannot be sent."""
    killed(store, products, model, at, STEPS)


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


@pytest.mark.parametrize(
    ("takes_over", "stride"),
    [
        pytest.param(False, 3, id="same model, every third step"),
        pytest.param(False, 1, id="same model", marks=pytest.mark.slow),
        pytest.param(True, 3, id="another model, every third step"),
        pytest.param(True, 1, id="another model", marks=pytest.mark.slow),
    ],
)
def test_a_refresh_killed_at_any_step_leaves_the_old_answers_or_the_new_whole(
    tmp_path: Path,
    model_folder: Path,
    other_model_folder: Path,
    products_file: Path,
    changed_file: Path,
    takes_over: bool,
    stride: int,
) -> None:
    pristine, finished = tmp_path / "pristine", tmp_path / "finished"
    build_index(model=model_folder, products=products_file, store=pristine, settings=SETTINGS)
    model = other_model_folder if takes_over else None
    shutil.copytree(pristine, finished)
    bring_up_to_date(finished, changed_file, model)
    before, after = answer(pristine), answer(finished)
    assert before != after

    outcomes = []
    for step, store in killed_stores(killed_at_step, pristine, changed_file, model, stride=stride):
        live = live_number(EmbeddingStore.open(store))
        outcomes.append(live)
        require_same_answer(answer(store), before if live == 1 else after, step)
        assert not [finding for finding in examine(store) if finding.severity is Severity.ERROR], step
        bring_up_to_date(store, changed_file, model)
        require_same_answer(answer(store), after, step)
        again = bring_up_to_date(store, changed_file, None)
        assert again.published is None, step
        assert not list(store.rglob("*.partial")), step
        assert sorted(os.listdir(store / "models")) == sorted(os.listdir(finished / "models")), step
    # Some were killed before publishing and some after it, and there was no third outcome.
    assert set(outcomes) == {1, 2}
    assert outcomes == sorted(outcomes)
    assert len(outcomes) > 30 // stride


STRIDES = [
    ("price", 6),
    ("text", 19),
    *(pytest.param(change, 1, marks=pytest.mark.slow, id=f"{change}, every step") for change in ("price", "text")),
]


@pytest.mark.parametrize(("change", "stride"), STRIDES)
def test_a_revision_that_is_folded_in_is_whole_whenever_the_refresh_is_killed(
    tmp_path: Path, model_folder: Path, products_file: Path, change: str, stride: int
) -> None:
    """A price shares the files of the version before, a text makes new ones; the feed is given again after the kill."""
    pristine, finished = tmp_path / "pristine", tmp_path / "finished"
    build_index(model=model_folder, products=products_file, store=pristine, settings=SETTINGS)
    with Updater(pristine, device="cpu") as updater:
        updater.upsert(
            [{"product_id": "p2", "price": 0.5} if change == "price" else {"product_id": "p2", "title": "boots"}]
        )
    shutil.copytree(pristine, finished)
    shared = bring_up_to_date(finished, products_file, None).shares_files_of
    assert shared == (1 if change == "price" else None)
    before, after = answer(pristine), answer(finished)
    assert before.pop("revision") == 1
    assert after.pop("revision") == 0

    outcomes = []
    for step, store in killed_stores(killed_at_step, pristine, products_file, None, stride=stride):
        outcomes.append(live_number(EmbeddingStore.open(store)))
        for _ in range(2):
            found = answer(store)
            del found["revision"]
            require_same_answer(found, after, step)
            assert not [finding for finding in examine(store) if finding.severity is Severity.ERROR], step
            bring_up_to_date(store, products_file, None)
        assert live_number(EmbeddingStore.open(store)) >= 2, step
    assert set(outcomes) == {1, 2}
    assert outcomes == sorted(outcomes)


def killed_after_upserts(store: Path, products: Path, at: int) -> None:
    """In its own process: products change just before the version is made, and the refresh is killed after that."""

    def upsert_first(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with Updater(store, device="cpu") as updater:
                updater.upsert(CHANGES)
                updater.delete(["p8"])
            kill_at(at, STEPS)
            return function(*arguments, **options)

        return call

    for name in ("publish", "publish_attributes"):
        setattr(refresh, name, upsert_first(getattr(refresh, name)))
    bring_up_to_date(store, products, None)


CHANGES = [{"product_id": "p2", "price": 0.25}, {"product_id": "n1", "title": "red boots", "price": 7.0}]


@pytest.mark.parametrize(("change", "stride"), STRIDES)
def test_what_is_upserted_during_a_refresh_is_there_whenever_it_is_killed(
    tmp_path: Path, model_folder: Path, products_file: Path, change: str, stride: int
) -> None:
    pristine, feed = tmp_path / "pristine", tmp_path / "feed.parquet"
    build_index(model=model_folder, products=products_file, store=pristine, settings=SETTINGS)
    column, value = ("price", 50.0) if change == "price" else ("title", "blue socks")
    changed = pl.when(pl.col("product_id") == "p7").then(pl.lit(value)).otherwise(column).alias(column)
    pl.read_parquet(products_file).with_columns(changed).write_parquet(feed)

    outcomes = []
    for step, store in killed_stores(killed_after_upserts, pristine, feed, stride=stride):
        outcomes.append(live_number(EmbeddingStore.open(store)))
        for _ in range(2):
            products = live_products(store)
            assert products.keys() == {"n1", *(f"p{row}" for row in range(1, 8))}, step
            assert (products["p2"]["price"], products["n1"]["price"]) == (0.25, 7.0), step
            assert (products["p7"][column] == value) == (live_number(EmbeddingStore.open(store)) > 1), step
            assert not [finding for finding in examine(store) if finding.severity is Severity.ERROR], step
            bring_up_to_date(store, feed, None)
        assert live_number(EmbeddingStore.open(store)) >= 2, step
    assert set(outcomes) == {1, 2}
    assert outcomes == sorted(outcomes)


def test_shards_encoded_before_a_kill_are_not_encoded_again(
    tmp_path: Path, model_folder: Path, other_model_folder: Path, products_file: Path
) -> None:
    store = tmp_path / "store"
    build_index(model=model_folder, products=products_file, store=store, settings=SETTINGS)
    process = forkserver().Process(target=killed_while_encoding, args=(store, products_file, other_model_folder))
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
