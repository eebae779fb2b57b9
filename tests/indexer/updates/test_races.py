"""Writers that publish at the same moment: in the end each of their updates is there, whole, in any order."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from indexer.refresh.gates import Gate
from indexer.refresh.refresh import refresh
from indexer.storage.local_storage import LocalStorage
from indexer.store.embedding_store import EmbeddingStore
from indexer.updates import updater as updater_module
from indexer.updates.updater import Updater
from indexer.versions.rollback import roll_back
from tests.indexer.updates.live_products import live_of, live_products, segments_of
from ubm_embed.errors import Conflict, InvalidData


@pytest.fixture
def before_swap(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Lets something happen just before the next swap of live.json, once."""
    waiting: list[Callable[[], object]] = []
    swap = LocalStorage.compare_and_swap

    def after_others(self: LocalStorage, name: str, data: bytes, **options: Any) -> None:
        if waiting:
            waiting.pop()()
        swap(self, name, data, **options)

    monkeypatch.setattr(LocalStorage, "compare_and_swap", after_others)
    return waiting.append


def test_of_two_updates_at_once_none_is_lost(
    store: Path, updater: Updater, before_swap: Callable[[Callable[[], object]], None]
) -> None:
    before = live_products(store)
    before_swap(lambda: Updater(store).upsert([{"product_id": "p1", "price": 7.0}, {"product_id": "p2", "price": 7.0}]))
    report = updater.upsert([{"product_id": "p1", "category": "boots"}])
    after = live_products(store)
    assert after["p1"] == before["p1"] | {"category": "boots", "price": 7.0}
    assert after["p2"]["price"] == 7.0
    assert (report.revision, report.encoded) == (2, 1)
    assert segments_of(store) >= {segment.name for segment in live_of(store).revision.segments}  # type: ignore[union-attr]
    assert len(segments_of(store)) == 2  # of this revision and the one before; that of the lost race is gone


def test_an_update_counts_what_it_finds_once_it_is_published(
    store: Path, updater: Updater, before_swap: Callable[[Callable[[], object]], None]
) -> None:
    before_swap(lambda: Updater(store).delete(["p1", "p2"]))
    report = updater.delete(["p1", "p3"])
    assert (report.deleted, report.unknown) == (1, ("p1",))
    assert live_products(store).keys() == {"p4", "p5", "p6", "p7", "p8"}


def test_an_update_that_a_new_version_overtakes_changes_the_new_version(
    store: Path, products_file: Path, updater: Updater, before_swap: Callable[[Callable[[], object]], None]
) -> None:
    rows = pl.read_parquet(products_file)
    rows.with_columns(title=pl.lit("red ") + pl.col("title")).write_parquet(products_file)
    before_swap(lambda: refresh(store=store, products=products_file, allow=set(Gate)))
    report = updater.upsert([{"product_id": "p1", "price": 7.0}])
    assert (report.version, report.revision) == (2, 1)
    assert live_products(store)["p1"]["price"] == 7.0
    assert live_products(store)["p1"]["title"] == "red red running shoes"


def test_an_update_during_a_refresh_is_in_the_new_version(
    store: Path, products_file: Path, updater: Updater, before_swap: Callable[[Callable[[], object]], None]
) -> None:
    rows = pl.read_parquet(products_file)
    rows.with_columns(title=pl.lit("red ") + pl.col("title")).write_parquet(products_file)
    changes = [{"product_id": "p1", "price": 7.0}, {"product_id": "n1", "title": "boots"}]
    before_swap(lambda: (updater.upsert(changes), updater.delete(["p3"])))
    refresh(store=store, products=products_file, allow=set(Gate))
    after = live_products(store)
    assert live_of(store).version == 2
    assert (after["p1"]["price"], after["n1"]["title"]) == (7.0, "boots")
    assert after.keys() == {"n1", "p1", "p2", "p4", "p5", "p6", "p7", "p8"}
    assert after["p2"]["title"].startswith("red blue")


def test_an_update_goes_on_from_a_rollback(
    store: Path, products_file: Path, updater: Updater, before_swap: Callable[[Callable[[], object]], None]
) -> None:
    updater.upsert([{"product_id": "p2", "price": 7.0}])
    rows = pl.read_parquet(products_file)
    rows.with_columns(price=pl.col("price") + 100).write_parquet(products_file)
    refresh(store=store, products=products_file, allow=set(Gate))
    before_swap(lambda: roll_back(EmbeddingStore.open(store), 1))
    report = updater.upsert([{"product_id": "p1", "price": 8.0}])
    assert (report.version, report.revision) == (1, 2)
    after = live_products(store)
    assert (after["p1"]["price"], after["p2"]["price"], after["p3"]["price"]) == (8.0, 7.0, 2.0)


def test_a_swap_whose_answer_was_lost_counts_as_done(
    store: Path, updater: Updater, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap = LocalStorage.compare_and_swap

    def swap_twice(self: LocalStorage, name: str, data: bytes, **options: Any) -> None:
        swap(self, name, data, **options)
        monkeypatch.undo()
        swap(self, name, data, **options)

    monkeypatch.setattr(LocalStorage, "compare_and_swap", swap_twice)
    report = updater.upsert([{"product_id": "p1", "price": 7.0}])
    assert (report.revision, report.published, report.updated) == (1, True, 1)
    assert live_of(store).revision.number == 1  # type: ignore[union-attr]
    assert live_products(store)["p1"]["price"] == 7.0
    assert updater.upsert([{"product_id": "p1", "price": 7.0}]).published is False


def test_a_refresh_that_takes_the_file_of_an_update_for_a_leftover_does_not_stop_it(
    store: Path, updater: Updater, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def after_a_refresh_began(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "replace", replace)
        with EmbeddingStore.open(store).write_lock():
            replace(source, target)

    monkeypatch.setattr(os, "replace", after_a_refresh_began)
    assert updater.upsert([{"product_id": "p1", "price": 7.0}]).revision == 1
    assert live_products(store)["p1"]["price"] == 7.0
    assert len(segments_of(store)) == 1


def test_where_others_always_come_first_it_gives_up(
    store: Path, updater: Updater, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updater_module, "MAX_TRIES", 3)
    other, price = Updater(store), iter(range(1, 10))
    swap = LocalStorage.compare_and_swap

    def second(self: LocalStorage, name: str, data: bytes, **options: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(LocalStorage, "compare_and_swap", swap)
            other.upsert([{"product_id": "p1", "price": float(next(price))}])
        swap(self, name, data, **options)

    monkeypatch.setattr(LocalStorage, "compare_and_swap", second)
    with pytest.raises(Conflict, match="keeps being changed by other processes; nothing was changed"):
        updater.upsert([{"product_id": "p2", "price": 99.0}])
    assert (live_products(store)["p1"]["price"], live_products(store)["p2"]["price"]) == (3.0, 1.0)


def test_a_damaged_segment_is_named_and_not_tried_again(store: Path, updater: Updater) -> None:
    updater.upsert([{"product_id": "p1", "price": 7.0}])
    (segment,) = segments_of(store)
    (store / "revisions" / "1" / segment).write_bytes(b"torn")
    with pytest.raises(InvalidData, match=segment):
        Updater(store).upsert([{"product_id": "p2", "price": 7.0}])
    assert live_of(store).revision.number == 1  # type: ignore[union-attr]


def test_many_writers_at_once_lose_nothing(store: Path) -> None:
    with Updater(store) as shared:
        writers = [shared, shared, *(Updater(store) for _ in range(2))]

        def write(number: int) -> None:
            for step in range(5):
                writers[number].upsert([{"product_id": f"p{number + 1}", "price": 100.0 + step}])
                writers[number].upsert([{"product_id": f"n{number}-{step}", "category": f"{number} {step}"}])

        with ThreadPoolExecutor(len(writers)) as pool:
            list(pool.map(write, range(len(writers))))
    after = live_products(store)
    assert live_of(store).revision.number == 40  # type: ignore[union-attr]
    assert [after[f"p{number + 1}"]["price"] for number in range(4)] == [104.0] * 4
    assert {f"n{number}-{step}" for number in range(4) for step in range(5)} < after.keys()
