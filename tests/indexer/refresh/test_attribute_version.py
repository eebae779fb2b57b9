"""A refresh in which no text changed: no index, no vector, no row of the table, and the answers of a rebuilt store."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from indexer.catalogue.catalogue_writer import POPULARITY_FILE
from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.health.doctor import Severity, examine
from indexer.index.index_request import IndexRequest
from indexer.index.vector_index import VectorIndex
from indexer.refresh.settings import RefreshSettings
from indexer.search.ranking import Rules
from indexer.search.retriever import Retriever
from indexer.store.product_table import ProductTable
from indexer.updates.updater import Updater
from indexer.versions.live import read_live, version_numbers
from indexer.versions.pruning import KeepPolicy
from indexer.versions.version import PATCH_FILE, read_version
from tests.indexer.refresh.shop import SESSION, Shop, require_same_answer
from ubm_embed.inference.embedder import Embedder

# Whatever writes to the table or reads a vector of it, loads an index or encodes.
FORBIDDEN: list[tuple[Any, str]] = [
    *((ProductTable, name) for name in ("write_fragments", "append", "remove", "replace", "restore", "compact", "pin")),
    *((ProductTable, name) for name in ("vectors", "vector_batches", "batches")),
    (VectorIndex, "load"),
    (VectorIndex, "save"),
    (Embedder, "embed_products"),
]
SMALL = {"settings": RefreshSettings(gates=Shop.LOOSE, max_patch_share=0.5)}


@pytest.fixture
def no_vectors(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    def forbid(name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            raise AssertionError(f"{name} was called")

        return call

    for owner, name in FORBIDDEN:
        monkeypatch.setattr(owner, name, forbid(name))
    return monkeypatch


def shared(shop: Shop) -> int | None:
    return read_version(shop.opened).shares_files_of


def test_a_new_price_takes_no_index_and_no_vector(shop: Shop, no_vectors: pytest.MonkeyPatch) -> None:
    shop.set("p2", price=99.5)
    report = shop.refresh(settings=None)  # no gate minds
    assert report.published is not None
    assert (report.changes.updated, report.encoded, report.shares_files_of, shared(shop)) == (1, 0, 1, 1)
    assert set(report.published.files) == {PATCH_FILE, POPULARITY_FILE, "popular.npy"}
    no_vectors.undo()
    assert shop.rows().filter(pl.col("product_id") == "p2")["price"].to_list() == [99.5]
    rules = Rules(where="price > 90", exclude_seen=False)
    answer = Retriever.open(shop.store).recommend(SESSION, 8, rules=rules)
    assert [match.product_id for match in answer.matches] == ["p2"]
    assert not [finding for finding in examine(shop.store) if finding.severity is Severity.ERROR]


def test_nights_add_up_against_the_shared_files(shop: Shop, model_folder: Path, tmp_path: Path) -> None:
    for night, name in enumerate(["p2", "p3", "p2"]):
        shop.set(name, price=100.0 + night)
        assert shop.refresh(**SMALL).published is not None
        assert shared(shop) == 1
    shop.set("p3", price=2.0)  # as it was: its row leaves the patch
    assert shop.refresh(**SMALL).written == 1
    again = shop.refresh(**SMALL)
    assert (again.published, again.written) == (None, 0)
    shop.require_as_built(model_folder, tmp_path)


def test_a_text_writes_what_the_nights_before_only_patched(shop: Shop, model_folder: Path, tmp_path: Path) -> None:
    shop.set("p2", price=99.5)
    shop.refresh(**SMALL)
    shop.set("p4", title="green socks")
    report = shop.refresh(**SMALL)
    assert (report.changes.updated, report.changes.changed, report.written, shop.encoded) == (0, 1, 2, ["p4"])
    assert (shared(shop), version_numbers(shop.opened)) == (None, [1, 2, 3])
    shop.require_as_built(model_folder, tmp_path)
    table = shop.opened.table
    rows = table.read(read_version(shop.opened).table_version, ["product_id", "price"])
    assert dict(rows.iter_rows())["p2"] == 99.5


def test_popularity_alone_is_in_no_patch(shop: Shop, interactions_file: Path, no_vectors: pytest.MonkeyPatch) -> None:
    log = pl.read_parquet(interactions_file).with_columns(product_id=pl.lit("p7"))
    log.write_parquet(interactions_file)
    assert shop.refresh(interactions=interactions_file).changes.updated == 4
    no_vectors.undo()
    assert shop.popularity() == {f"p{row}": 7 * (row == 7) for row in range(1, 9)}
    version = read_version(shop.opened)
    own, base = shop.store / f"versions/{version.version}", shop.store / "versions/1"
    with closing(MappedCatalogue.open(base, 8, own=own)) as catalogue:
        assert [catalogue.values("product_id", catalogue.popular)] == [["p7"]]


@pytest.mark.parametrize("change", ["many", "index", "model", "column"])
def test_files_of_its_own_for_all_else(shop: Shop, other_model_folder: Path, change: str) -> None:
    options: dict[str, Any] = {}
    if change == "many":
        shop.write(shop.products.with_columns(price=pl.col("price") + 1))
    elif change == "column":
        shop.write(shop.products.with_columns(stock=pl.lit(1)))
    elif change == "model":
        options = {"model": other_model_folder}
    else:
        settings = SMALL["settings"].model_copy(update={"index": IndexRequest(index="fp16")})
        options = {"settings": settings}
    report = shop.refresh(**options)
    assert report.published is not None
    assert (report.shares_files_of, shared(shop)) == (None, None)


def test_a_price_of_a_revision_becomes_part_of_a_patch(shop: Shop, no_vectors: pytest.MonkeyPatch) -> None:
    with Updater(shop.store, device="cpu") as updater:
        updater.upsert([{"product_id": "p2", "price": 42.5}])
    report = shop.refresh(feed_time=datetime(2020, 1, 1, tzinfo=UTC), **SMALL)
    assert (report.shares_files_of, read_live(shop.opened).revision) == (1, None)
    no_vectors.undo()
    assert dict(shop.rows().select("product_id", "price").iter_rows())["p2"] == 42.5


def test_a_text_of_a_revision_that_the_feed_has_not_leaves_the_shared_files(
    shop: Shop, no_vectors: pytest.MonkeyPatch
) -> None:
    no_vectors.undo()
    before = shop.answer()
    with Updater(shop.store, device="cpu") as updater:
        updater.upsert([{"product_id": "p2", "title": "green socks"}])
        updater.delete(["p3"])
    feed_time = datetime.now(UTC)
    assert shop.answer()["matches"] != before["matches"]
    report = shop.refresh(feed_time=feed_time, **SMALL)
    assert (report.changes.changed, report.changes.new, report.encoded, report.shares_files_of) == (1, 1, 0, 1)
    require_same_answer(shop.answer(), before | {"version": 2})


def test_the_shared_files_stay_as_long_as_they_are_shared(shop: Shop) -> None:
    keep = RefreshSettings(gates=Shop.LOOSE, max_patch_share=0.5, keep=KeepPolicy(versions=1))
    for night in range(3):
        shop.set("p2", price=100.0 + night)
        shop.refresh(settings=keep)
    assert version_numbers(shop.opened) == [1, 4]
    shop.set("p2", title="green socks")
    shop.refresh(settings=keep)
    assert version_numbers(shop.opened) == [5]
    assert shop.answer()["version"] == 5


def test_a_dry_run_says_whether_files_are_shared(shop: Shop) -> None:
    shop.set("p2", price=99.5)
    before = shop.files()
    assert shop.refresh(dry_run=True).to_dict()["shares_files_of"] == 1
    assert shop.files() == before
