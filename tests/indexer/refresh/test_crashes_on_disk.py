"""kill -9 at every step that an index on disk adds to a refresh: the old answers or the new ones, whole."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from indexer.health.doctor import Severity, examine
from indexer.index.index_request import IndexRequest
from indexer.refresh.refresh import build_index
from indexer.refresh.settings import RefreshSettings
from indexer.storage.local_storage import LocalStorage
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.product_table import ProductTable
from indexer.versions.live import live_number
from tests.indexer.refresh.kills import answer, bring_up_to_date, killed, killed_stores
from tests.indexer.refresh.shop import require_same_answer

# Some hundred processes are started and killed one after the other, which takes minutes on a busy machine.
pytestmark = pytest.mark.timeout(1800)

# The steps that an index on disk adds, and the one that makes it live.
STEPS_ON_DISK: list[tuple[Any, str]] = [
    *((ProductTable, name) for name in ("drop_indexes", "create_index", "pin")),
    (LocalStorage, "compare_and_swap"),
]


def test_a_refresh_of_an_index_on_disk_killed_at_any_step_leaves_the_old_answers_or_the_new_whole(
    tmp_path: Path, model_folder: Path, products_file: Path
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
    for step, store in killed_stores(partial(killed, steps=STEPS_ON_DISK), pristine, night, None):
        outcomes.append(live_number(EmbeddingStore.open(store)))
        require_same_answer(answer(store), before if outcomes[-1] == 1 else after, step)
        assert not [finding for finding in examine(store) if finding.severity is Severity.ERROR], step
        bring_up_to_date(store, night, None)
        require_same_answer(answer(store), after, step)
    assert set(outcomes) == {1, 2}
    assert outcomes == sorted(outcomes)
    assert len(outcomes) >= 8
