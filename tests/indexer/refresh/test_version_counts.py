"""The counts of a version: from the interactions, and taken over night by night."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from indexer.counts.counts_file import COUNTS_FILE, VersionCounts
from indexer.health.doctor import examine
from indexer.health.repair import repair
from indexer.refresh.interaction_counts import InteractionCounts
from indexer.refresh.refresh import build_index
from indexer.refresh.settings import RefreshSettings
from indexer.revisions.version_rows import VersionRows
from indexer.versions.version import StoreVersion, read_version
from indexer.versions.version_counts import open_counts
from tests.indexer.refresh.shop import Shop
from ubm_embed.counts.ranking_weights import CountWeights

WEIGHTS = CountWeights()
# As of the fixture `interactions_file`: p3, p5, p3, gone, p2, p3, gone.
OWN = {"p2", "p3", "p5"}
SMALL = {"settings": RefreshSettings(gates=Shop.LOOSE, max_patch_share=0.5)}


def ids(shop: Shop, version: StoreVersion) -> list[str]:
    base = read_version(shop.opened, version.files_version)
    column: list[str] = VersionRows.open(shop.opened, base).overlay.base.table(["product_id"]).column(0).to_pylist()
    return column


def counts_of(shop: Shop, number: int | None = None) -> VersionCounts | None:
    version = read_version(shop.opened, number)
    folders = [shop.store / f"versions/{one}" for one in (version.files_version, version.version)]
    return open_counts(version, *folders)


def rows_of(shop: Shop, number: int | None = None) -> dict[str, dict[str, float]]:
    """The counts of a version by the ids of its products; without empty rows."""
    counts, names = counts_of(shop, number), ids(shop, read_version(shop.opened, number))
    assert counts is not None
    counts.require_valid()
    rows: dict[str, dict[str, float]] = {}
    for row, name in enumerate(names):
        here = slice(*counts.transitions.offsets[row : row + 2].tolist())
        entries = zip(
            counts.transitions.neighbours[here].tolist(), counts.transitions.values[here].tolist(), strict=True
        )
        rows[name] = {names[at]: round(value, 3) for at, value in entries}
    return {name: row for name, row in rows.items() if row}


def of(rows: dict[str, dict[str, float]], names: set[str]) -> dict[str, dict[str, float]]:
    """The rows and columns of some products."""
    return {name: {other: row[other] for other in row if other in names} for name, row in rows.items() if name in names}


def test_a_build_counts_what_shoppers_did_next(shop: Shop) -> None:
    version, rows = read_version(shop.opened), rows_of(shop)
    assert version.counts is not None
    assert (version.counts.interactions, version.counts.sessions) == (7, 1)  # also of what the catalogue lacks
    assert (version.counts.products, version.counts.spread) == (3, 5)
    assert version.counts.pairs == sum(map(len, rows.values()))
    assert set(of(rows, OWN)["p5"]) == {"p2", "p3"}
    assert of(rows, OWN)["p5"]["p3"] > of(rows, OWN)["p5"]["p2"]  # it came next, and a fourth step later
    counts = counts_of(shop)
    assert counts is not None
    seen = dict(zip(ids(shop, version), counts.seen.tolist(), strict=True))
    assert {name: bin for name, bin in seen.items() if bin} == {"p2": 1, "p3": 2, "p5": 1}
    # Nobody saw the others: each follows and is followed as its nearest are.
    assert set(rows) == {f"p{row}" for row in range(1, 9)}
    assert all(set(row) - OWN for row in rows.values())
    assert all(name not in row for name, row in rows.items())


def test_a_refresh_without_interactions_takes_them_over(shop: Shop) -> None:
    before, summary = rows_of(shop), read_version(shop.opened).counts
    shop.drop("p2")
    shop.set("p5", title="a new title")
    shop.add("p9", "red running shoes")
    assert shop.refresh().published is not None
    after = rows_of(shop)
    kept = set(before) - {"p2"}
    assert of(after, kept) == {name: row for name, row in of(before, kept).items() if row}
    assert after["p9"]
    assert any("p9" in row for row in after.values())
    now = read_version(shop.opened).counts
    assert (summary is not None, now is not None) == (True, True)
    assert now is not None
    assert summary is not None
    assert (now.counted, now.interactions, now.products) == (summary.counted, 7, 2)


def test_counts_are_left_out_and_made_again(shop: Shop, interactions_file: Path) -> None:
    before = rows_of(shop)
    assert shop.refresh(counts=False).published is not None
    assert (counts_of(shop), read_version(shop.opened).counts) == (None, None)
    assert shop.refresh().published is None
    assert shop.refresh(interactions=interactions_file).published is not None
    assert rows_of(shop) == before
    assert shop.refresh(interactions=interactions_file).published is None  # nothing is new
    log = pl.read_parquet(interactions_file)
    log.with_columns(session_id=pl.col("position").cast(pl.String)).write_parquet(interactions_file)
    assert shop.refresh(interactions=interactions_file).published is not None  # the same popularity, other sessions
    assert rows_of(shop) == {}


def test_another_order_of_the_same_interactions_is_counted_anew(shop: Shop, interactions_file: Path) -> None:
    before = rows_of(shop)
    log = pl.read_parquet(interactions_file)
    log.with_columns(position=pl.col("position").reverse()).write_parquet(interactions_file)
    assert shop.refresh(interactions=interactions_file).published is not None
    assert rows_of(shop)["p2"] != before["p2"]  # it came first now, not last
    assert shop.refresh(interactions=interactions_file).published is None


def test_a_log_of_other_products_is_said(shop: Shop, model_folder: Path, interactions_file: Path) -> None:
    said = list[str]()
    shop.refresh(interactions=interactions_file, notice=said.append)
    assert said == []
    log = pl.read_parquet(interactions_file)
    log.with_columns(product_id=pl.concat_str(pl.lit("sku-"), "product_id")).write_parquet(interactions_file)
    shop.refresh(interactions=interactions_file, notice=said.append)
    files = {"products": shop.file, "interactions": interactions_file, "store": shop.store.parent / "built"}
    build_index(model=model_folder, **files, notice=said.append)
    assert [f"{interactions_file} has no interaction with a product" in line for line in said] == [True, True]


def test_a_version_that_shares_files_has_their_counts(shop: Shop) -> None:
    before = rows_of(shop)
    shop.set("p2", price=99.5)
    shop.refresh(**SMALL)
    version = read_version(shop.opened)
    assert (version.shares_files_of, COUNTS_FILE in version.files) == (1, False)
    assert rows_of(shop) == before
    shop.set("p4", title="green socks")
    shop.refresh()
    assert of(rows_of(shop), OWN) == of(before, OWN)


def test_a_version_that_shares_files_may_have_counts_of_its_own(shop: Shop, interactions_file: Path) -> None:
    log = pl.read_parquet(interactions_file)
    log.with_columns(product_id=pl.col("product_id").replace("gone", "p7")).write_parquet(interactions_file)
    shop.refresh(interactions=interactions_file, **SMALL)
    own = rows_of(shop)
    assert "p7" in own["p3"]
    shop.set("p2", price=99.5)
    shop.refresh(**SMALL)
    version = read_version(shop.opened)
    assert (version.version, version.shares_files_of, COUNTS_FILE in version.files) == (3, 1, True)
    assert rows_of(shop) == own
    shop.set("p2", price=77.0)
    shop.refresh(counts=False, **SMALL)
    assert (read_version(shop.opened).shares_files_of, counts_of(shop)) == (1, None)


def test_another_model_takes_them_over_with_its_own_weights(shop: Shop, other_model_folder: Path) -> None:
    before, weights = rows_of(shop), CountWeights(by_seen=(0.5,))
    weights.save(other_model_folder)
    shop.refresh(model=other_model_folder)
    counts = counts_of(shop)
    assert counts is not None
    assert counts.weights == weights
    assert of(rows_of(shop), OWN) == of(before, OWN)


def test_damaged_counts_are_not_handed_on(shop: Shop) -> None:
    (shop.store / "versions/1" / COUNTS_FILE).write_bytes(b"damaged")
    shop.set("p2", title="green socks")
    notices: list[str] = []
    assert shop.refresh(notice=notices.append).published is not None
    assert read_version(shop.opened).counts is None
    assert [notice for notice in notices if "counts" in notice] == [
        "the counts of version 1 are missing or damaged: version 2 answers without; --interactions FILE counts anew"
    ]


def test_a_store_by_older_software_is_refreshed_as_before(shop: Shop, interactions_file: Path) -> None:
    file = shop.store / "versions/1/manifest.json"
    document = json.loads(file.read_text())
    del document["counts"], document["files"][COUNTS_FILE]
    file.write_text(json.dumps(document))
    (shop.store / "versions/1" / COUNTS_FILE).unlink()
    shop.set("p2", title="green socks")
    assert shop.refresh().published is not None
    assert counts_of(shop) is None
    assert shop.refresh(interactions=interactions_file).published is not None
    assert counts_of(shop) is not None


class TestRepair:
    def test_sound_counts_stay(self, shop: Shop) -> None:
        before, summary = rows_of(shop), read_version(shop.opened).counts
        (shop.store / "versions/1/index.faiss").unlink()
        repair(shop.store)
        assert (rows_of(shop), read_version(shop.opened).counts) == (before, summary)
        assert examine(shop.store) == []

    @pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(bytes(99))])
    def test_lost_counts_are_named_and_answered_without(self, shop: Shop, damage: Any) -> None:
        shop.set("p2", price=99.5)
        shop.refresh(**SMALL)  # shares the files, and so the counts
        damage(shop.store / "versions/1" / COUNTS_FILE)
        assert any(COUNTS_FILE in finding.problem and finding.repairable for finding in examine(shop.store))
        notices: list[str] = []
        repair(shop.store, notices.append)
        for number in (1, 2):
            lost = f"counts of version {number} are lost: it answers without; to count anew"
            assert any(lost in notice for notice in notices)
        assert [read_version(shop.opened, number).counts for number in (1, 2)] == [None, None]
        assert examine(shop.store) == []
        shop.answer()

    def test_counts_that_no_manifest_describes_are_said_to_be_lost(self, shop: Shop) -> None:
        (shop.store / "versions/1/manifest.json").unlink()
        notices: list[str] = []
        repair(shop.store, notices.append)
        assert any("counts of version 1 are lost: it answers without" in notice for notice in notices)
        assert examine(shop.store) == []

    def test_a_version_that_lost_its_own_has_those_of_the_files_it_shares(
        self, shop: Shop, interactions_file: Path
    ) -> None:
        before = rows_of(shop)
        log = pl.read_parquet(interactions_file)
        log.with_columns(product_id=pl.col("product_id").replace("gone", "p7")).write_parquet(interactions_file)
        shop.refresh(interactions=interactions_file, **SMALL)
        (shop.store / "versions/2" / COUNTS_FILE).unlink()
        notices: list[str] = []
        repair(shop.store, notices.append)
        assert any("counts of version 2 are lost: it has those of version 1" in notice for notice in notices)
        assert rows_of(shop) == before
        assert examine(shop.store) == []


def test_a_long_log_has_the_counts_of_a_short_one(tmp_path: Path) -> None:
    """However the rows of its sessions are spread over it."""
    rng = np.random.default_rng(0)
    log = pl.DataFrame(
        {
            "session_id": [f"s{session}" for session in rng.integers(0, 30, 400)],
            "position": range(400),
            "action": rng.choice(["view", "add", "remove", "buy"], 400),
            "product_id": [f"p{product}" for product in rng.integers(0, 20, 400)],
        }
    )
    log.write_parquet(tmp_path / "log.parquet")
    found = []
    for rows_in_memory in (1000, 60):
        counts = InteractionCounts.read(tmp_path / "log.parquet", weights=WEIGHTS, rows_in_memory=rows_in_memory)
        assert counts.transitions is not None
        found.append(counts.transitions.of_catalogue(counts.hashes[:15]))
    for name in ("offsets", "neighbours"):
        np.testing.assert_array_equal(getattr(found[0].counts, name), getattr(found[1].counts, name))
    np.testing.assert_allclose(found[0].counts.values, found[1].counts.values, rtol=1e-5)
    assert (found[0].interactions, found[0].sessions) == (found[1].interactions, found[1].sessions)
    np.testing.assert_array_equal(found[0].seen, found[1].seen)
    popularity = InteractionCounts.read(tmp_path / "log.parquet")
    known = popularity.of(counts.hashes)
    np.testing.assert_array_equal(known, found[0].seen)
