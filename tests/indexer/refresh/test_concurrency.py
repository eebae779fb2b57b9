"""Readers and writers at the same time: no error, no answer that mixes two versions, and only one writer."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from indexer.refresh.refresh import build_index, refresh
from indexer.refresh.settings import RefreshSettings
from indexer.refresh.shards import EncodingJob, Shard, encode_locally
from indexer.search.retriever import Retriever
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.live import live_number
from indexer.versions.rollback import roll_back
from tests.indexer.refresh.shop import SESSION
from ubm_embed.errors import Conflict
from ubm_embed.progress import Progress

ROOT = Path(__file__).parents[3]
NIGHTS = 10
SETTINGS = RefreshSettings(shard_rows=3)
ALLOW = ["neighbours", "centroid", "rows"]


def write_catalogue(file: Path, products: pl.DataFrame, version: int) -> Path:
    """The catalogue of a night: every price is the version's number, and one product is named after it."""
    night = products.with_columns(
        price=pl.lit(float(version)),
        title=pl.when(pl.col("product_id") == "p3").then(pl.lit(f"red shirt {version}")).otherwise("title"),
    )
    night.write_parquet(file)
    return file


def read_steadily(store: Path, versions: Any) -> None:
    """In its own process: query without a pause up to the last night; puts each version once, or the first fault."""
    version = 0
    try:
        while version <= NIGHTS:
            answer = Retriever.open(store, device="cpu").recommend(SESSION, 20)
            prices = {match.fields["price"] for match in answer.matches}
            assert prices == {float(answer.version)}, f"version {answer.version} answered with prices {prices}"
            assert len(answer.matches) == 7
            assert answer.version >= version, f"version {answer.version} answered after version {version}"
            if answer.version > version:
                version = answer.version
                versions.put(version)
    except BaseException as error:
        versions.put(repr(error))
        raise


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux to see the threads of a process")
def test_importing_starts_no_threads_of_polars() -> None:
    """Processes are forked from one that has imported everything, and would wait for such threads for ever."""
    program = (
        "import pathlib, sys\nimport indexer.refresh.refresh, indexer.search.retriever, indexer.updates.updater\n"
        "threads = [(task / 'comm').read_text().strip() for task in pathlib.Path('/proc/self/task').iterdir()]\n"
        "sys.exit(' '.join(name for name in threads if name.startswith('polars-') and name[7:].isdigit()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_reader_sees_every_version_whole_and_no_error_through_ten_refreshes(
    tmp_path: Path, model_folder: Path, products: pl.DataFrame
) -> None:
    file, store = tmp_path / "products.parquet", tmp_path / "store"
    build_index(model=model_folder, products=write_catalogue(file, products, 1), store=store, settings=SETTINGS)
    held = Retriever.open(store)
    first = held.recommend(SESSION, 20)

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lance", "indexer.refresh.refresh", "indexer.search.retriever"])
    versions = context.Queue()
    reader = context.Process(target=read_steadily, args=(store, versions), daemon=True)
    reader.start()
    assert versions.get() == 1
    for night in range(2, NIGHTS + 2):
        write_catalogue(file, products, night)
        assert refresh(store=store, products=file, settings=SETTINGS, allow=ALLOW).published is not None
        # The reader queries all the while, and the next refresh waits until it has seen this one, on any machine.
        assert versions.get() == night
        # A reader that opened a version keeps it, though it has long been pruned.
        assert held.recommend(SESSION, 20).matches == first.matches
    reader.join()
    assert reader.exitcode == 0


def test_a_version_that_is_pruned_while_it_is_opened_gives_way_to_the_live_one(
    tmp_path: Path, model_folder: Path, products: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    from indexer.search import open_version

    file, store = tmp_path / "products.parquet", tmp_path / "store"
    build_index(model=model_folder, products=write_catalogue(file, products, 1), store=store, settings=SETTINGS)
    read, nights = open_version.read_version, iter([2, 3])

    def read_slowly(*arguments: Any) -> Any:
        version = read(*arguments)
        for night in nights:  # two nights pass: the version is gone
            refresh(store=store, products=write_catalogue(file, products, night), settings=SETTINGS, allow=ALLOW)
        return version

    monkeypatch.setattr(open_version, "read_version", read_slowly)
    assert Retriever.open(store).version.version == 3


def test_a_second_writer_is_refused_and_readers_are_not(store: Path, products_file: Path) -> None:
    with EmbeddingStore.open(store).write_lock():
        with pytest.raises(Conflict, match="another process is writing"):
            refresh(store=store, products=products_file)
        assert Retriever.open(store).recommend(SESSION, 8).version == 1


def test_a_rollback_does_not_wait_for_a_refresh_which_then_publishes_nothing(
    tmp_path: Path, model_folder: Path, products: pl.DataFrame
) -> None:
    file, store = tmp_path / "products.parquet", tmp_path / "store"
    build_index(model=model_folder, products=write_catalogue(file, products, 1), store=store, settings=SETTINGS)
    refresh(store=store, products=write_catalogue(file, products, 2), settings=SETTINGS, allow=ALLOW)
    opened = EmbeddingStore.open(store)

    def roll_back_meanwhile(job: EncodingJob, shards: Sequence[Shard], progress: Progress) -> None:
        encode_locally(job, shards, progress)
        assert roll_back(opened).now.version == 1

    night = write_catalogue(file, products, 3)
    with pytest.raises(Conflict, match="changed by another process meanwhile"):
        refresh(store=store, products=night, settings=SETTINGS, allow=ALLOW, engine=roll_back_meanwhile)
    assert live_number(opened) == 1
    done = refresh(store=store, products=night, settings=SETTINGS, allow=ALLOW)
    assert done.published is not None
    assert done.base == 1
    assert {match.fields["price"] for match in Retriever.open(store).recommend(SESSION, 8).matches} == {3.0}
