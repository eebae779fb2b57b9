"""kill -9 at every step of an update: the products before it or after it, whole, and the next update completes."""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from indexer.storage.local_storage import LocalStorage
from indexer.updates.updater import Updater
from tests.indexer.refresh.kills import kill_at, killed_stores
from tests.indexer.updates.live_products import live_of, live_products
from ubm_embed.inference.embedder import Embedder

pytestmark = pytest.mark.timeout(600)

# Everything that changes the disk, and the encoding in between; what follows each of them is the next one.
STEPS: list[tuple[Any, str]] = [
    (os, "replace"),
    *((LocalStorage, name) for name in ("compare_and_swap", "remove", "fsync")),
    (Embedder, "embed_products"),
]
PRODUCTS = [
    {"product_id": "p1", "price": 9.0},
    {"product_id": "p2", "title": "green socks"},
    {"product_id": "n1", "title": "boots"},
]


def killed(store: Path, at: int) -> None:
    """In its own process: an update that is killed just before or after one of its steps, the one numbered `at`."""
    kill_at(at, STEPS)
    Updater(store, device="cpu").upsert(PRODUCTS)


def test_an_update_killed_at_any_step_is_there_whole_or_not_at_all(
    store: Path, model_folder: Path, updater: Updater, tmp_path: Path
) -> None:
    # Revisions before it, so that segments are merged and old ones removed.
    updater.upsert([{"product_id": "p3", "price": 1.5}])
    updater.delete(["p4"])
    before = live_products(store)
    finished = Path(shutil.copytree(store, tmp_path / "finished"))
    updater_of = functools.partial(Updater, embedder=Embedder.from_pretrained(model_folder, device="cpu"))
    updater_of(finished).upsert(PRODUCTS)
    after = live_products(finished)

    outcomes = []
    for step, copy in killed_stores(killed, store):
        live = live_of(copy)
        assert live.revision is not None
        outcomes.append(live.revision.number)
        assert live_products(copy) == (before if live.revision.number == 2 else after), step
        updater_of(copy).upsert(PRODUCTS)
        assert live_products(copy) == after, step
    # Some were killed before publishing and some after it, and there was no third outcome.
    assert set(outcomes) == {2, 3}
    assert outcomes == sorted(outcomes)
    assert len(outcomes) >= 7
