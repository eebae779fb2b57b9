"""Two versions differ by what was done to the catalogue."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from indexer.refresh.gates import Gate
from indexer.refresh.refresh import build_index, refresh
from indexer.refresh.settings import RefreshSettings
from indexer.revisions.difference import Difference
from indexer.revisions.revised_version import RevisedVersion
from indexer.store.embedding_store import EmbeddingStore
from indexer.updates.updater import Updater
from indexer.versions.live import read_live
from indexer.versions.version import read_version
from ubm_embed.errors import InvalidData

ALLOW = [Gate.NEIGHBOURS, Gate.CENTROID, Gate.ROWS]


def between(store: Path, before: int, after: int) -> Difference:
    opened = EmbeddingStore.open(store)
    return Difference.between(opened, *(RevisedVersion(read_version(opened, number)) for number in (before, after)))


@pytest.fixture
def changed(tmp_path: Path, products_file: Path) -> Path:
    """p8 removed, p9 new, another title for p2, another price for p1 and p5."""
    rows = pl.read_parquet(products_file).filter(pl.col("product_id") != "p8")
    new = rows.head(1).with_columns(product_id=pl.lit("p9"), title=pl.lit("green hat"))
    title = pl.when(pl.col("product_id") == "p2").then(pl.lit("blue sandals")).otherwise("title")
    price = pl.when(pl.col("product_id").is_in(["p1", "p5"])).then(pl.lit(99.0)).otherwise("price")
    pl.concat([rows.with_columns(title=title, price=price), new]).write_parquet(tmp_path / "changed.parquet")
    return tmp_path / "changed.parquet"


def test_each_kind_of_change_is_listed(store: Path, changed: Path) -> None:
    refresh(products=changed, store=store, allow=ALLOW, settings=RefreshSettings(shard_rows=2))
    difference = between(store, 1, 2)
    assert (difference.before, difference.after, difference.unchanged) == (1, 2, 4)
    assert difference.new.to_list() == ["p9"]
    assert difference.changed.to_list() == ["p2"]
    assert difference.updated.to_list() == ["p1", "p5"]
    assert difference.removed.to_list() == ["p8"]


def test_backwards_what_was_new_is_removed(store: Path, changed: Path) -> None:
    refresh(products=changed, store=store, allow=ALLOW)
    difference = between(store, 2, 1)
    assert (difference.new.to_list(), difference.removed.to_list(), difference.unchanged) == (["p8"], ["p9"], 4)


def test_popularity_alone_is_an_update(tmp_path: Path, store: Path, products_file: Path) -> None:
    log = pl.DataFrame({"session_id": ["s"], "position": [0], "action": ["buy"], "product_id": ["p7"]})
    log.write_parquet(tmp_path / "log.parquet")
    refresh(products=products_file, store=store, interactions=tmp_path / "log.parquet")
    difference = between(store, 1, 2)
    assert (difference.changed.len(), difference.unchanged) == (0, 4)
    assert difference.updated.to_list() == ["p2", "p3", "p5", "p7"]


def test_a_version_and_itself(store: Path) -> None:
    difference = between(store, 1, 1)
    assert (difference.unchanged, dict(difference.manifest)) == (8, {})
    assert difference.to_dict(10)["ids"] == {"new": [], "changed": [], "updated": [], "removed": []}


def test_manifests_are_compared_without_what_always_differs(nights: Path) -> None:
    assert set(between(nights, 1, 2).manifest) == {"source", "uniformity"}
    assert between(nights, 1, 2).manifest["source"] == ("night1.parquet", "night2.parquet")


def test_another_model_is_a_difference_of_the_manifests(
    store: Path, other_model_folder: Path, products_file: Path
) -> None:
    build_index(model=other_model_folder, products=products_file, store=store)
    before, after = between(store, 1, 2).manifest["model_id"]
    assert before != after


def test_the_number_of_ids_is_limited(nights: Path) -> None:
    document = between(nights, 1, 3).to_dict(2)
    assert document["updated"] == 7
    assert document["ids"] == {"new": [], "changed": ["p3"], "updated": ["p1", "p2"], "removed": []}
    assert between(nights, 1, 3).to_dict(0)["ids"]["updated"] == []


def test_a_damaged_file_is_named(nights: Path) -> None:
    (nights / "versions/1/products.arrow").write_bytes(b"")
    with pytest.raises(InvalidData, match=r"1/products\.arrow: truncated or damaged"):
        between(nights, 1, 2)


class TestRevisions:
    @pytest.fixture
    def revised(self, store: Path) -> Path:
        """Version 1.4: p9 new, p2 with another title, p4 with another price, p8 deleted, and p5 as it was before."""
        with Updater(store) as updater:
            updater.upsert([{"product_id": "p5", "price": 77.0}, {"product_id": "p9", "title": "green hat"}])
            updater.upsert([{"product_id": "p2", "title": "blue sandals"}, {"product_id": "p4", "price": 99.0}])
            updater.upsert([{"product_id": "p5", "price": 4.0}])
            updater.delete(["p8"])
        return store

    @staticmethod
    def difference(store: Path, *, backwards: bool = False) -> Difference:
        opened = EmbeddingStore.open(store)
        version, revision = read_version(opened, 1), read_live(opened).revision
        sides = RevisedVersion(version), RevisedVersion(version, revision)
        return Difference.between(opened, *(reversed(sides) if backwards else sides))

    def test_between_a_version_as_it_was_published_and_its_revision(self, revised: Path) -> None:
        difference = self.difference(revised)
        assert difference.labels == ("1", "1.4")
        assert (difference.new.to_list(), difference.changed.to_list()) == (["p9"], ["p2"])
        assert (difference.updated.to_list(), difference.removed.to_list()) == (["p4"], ["p8"])
        assert (difference.unchanged, dict(difference.manifest)) == (5, {})

    def test_backwards_what_was_new_is_removed(self, revised: Path) -> None:
        difference = self.difference(revised, backwards=True)
        assert (difference.new.to_list(), difference.removed.to_list()) == (["p8"], ["p9"])

    def test_between_a_revision_and_the_refresh_that_has_its_products(
        self, revised: Path, tmp_path: Path, products_file: Path
    ) -> None:
        title = pl.when(pl.col("product_id") == "p2").then(pl.lit("blue sandals")).otherwise("title")
        price = pl.when(pl.col("product_id") == "p4").then(pl.lit(99.0)).otherwise("price")
        rows = (
            pl.read_parquet(products_file).with_columns(title=title, price=price).filter(pl.col("product_id") != "p8")
        )
        rows.write_parquet(tmp_path / "folded.parquet")
        opened = EmbeddingStore.open(revised)
        before = RevisedVersion(read_version(opened, 1), read_live(opened).revision)
        build_index(model=revised.parent / "model", products=tmp_path / "folded.parquet", store=revised)
        difference = Difference.between(opened, before, RevisedVersion(read_version(opened, 2)))
        assert (difference.changed.len(), difference.new.len(), difference.removed.to_list()) == (0, 0, ["p9"])
