"""A refresh brings the live version up to date and encodes only the texts that changed."""

import json
import shutil
import weakref
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from indexer.lexical.words_file import WORDS_FILE, read_words
from indexer.refresh import refresh as refresh_module
from indexer.refresh.catalogue_scan import CatalogueScan
from indexer.refresh.gates import Gate
from indexer.refresh.plan import ChangeCounts
from indexer.refresh.settings import RefreshSettings
from indexer.search.ranking import Rules
from indexer.search.retriever import Retriever
from indexer.versions.live import read_live, version_numbers
from indexer.versions.pruning import KeepPolicy
from indexer.versions.version import StoreVersion, read_version
from tests.indexer.refresh.shop import SESSION, Shop
from ubm_embed.data.session import Session
from ubm_embed.errors import Conflict
from ubm_embed.model.folder import model_id_of


def test_each_kind_of_change_is_counted_and_answers(shop: Shop, model_folder: Path, tmp_path: Path) -> None:
    shop.add("p9", "red leather boots")
    shop.set("p2", title="green running shoes")
    shop.set("p3", price=99.0)
    shop.drop("p7")
    report = shop.refresh()
    assert report.changes == ChangeCounts(new=1, changed=1, updated=1, unchanged=5, removed=1)
    assert (report.base, report.written, report.encoded, report.resumed, report.reason) == (1, 3, 2, 0, None)
    assert sorted(shop.encoded) == ["p2", "p9"]
    version = read_version(shop.opened)
    assert report.published == version
    assert (version.version, version.base, version.products) == (2, 1, 8)
    assert version.changes == {"new": 1, "changed": 1, "updated": 1, "unchanged": 5, "removed": 1, "encoded": 2}
    assert set(version.gates) == set(Gate) - {Gate.LATENCY}, "no latency was requested"
    matches = {match["product_id"]: match for match in shop.answer()["matches"]}
    assert matches.keys() == {"p1", "p2", "p3", "p4", "p5", "p6", "p8", "p9"}
    assert (matches["p2"]["title"], matches["p3"]["price"]) == ("green running shoes", 99.0)
    shop.require_as_built(model_folder, tmp_path)


def test_the_previous_version_still_answers(shop: Shop) -> None:
    before, reader = shop.answer(), Retriever.open(shop.store)
    shop.set("p2", title="green running shoes")
    shop.drop("p7")
    shop.refresh()
    assert shop.answer(version=1) == before
    assert reader.recommend(SESSION, 20, rules=Rules(exclude_seen=False)).to_dict()["matches"] == before["matches"]
    assert shop.answer()["matches"] != before["matches"]


def test_a_new_price_is_written_without_encoding(shop: Shop) -> None:
    before = shop.rows()
    shop.write(shop.products.with_columns(price=pl.col("price") + 100))
    report = shop.refresh(settings=None)  # no gate minds
    assert report.changes == ChangeCounts(new=0, changed=0, updated=8, unchanged=0, removed=0)
    assert (report.written, report.encoded, shop.encoded) == (8, 0, [])
    after = shop.rows()
    assert after["price"].to_list() == [100.0 + row for row in range(8)]
    assert after.drop("price").equals(before.drop("price"))


def test_a_version_is_made_without_what_is_known_of_the_catalogue(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan takes a hundred bytes a product."""
    scans: list[weakref.ref[CatalogueScan]] = []
    read, publish = CatalogueScan.read, refresh_module.publish

    def remembered(*arguments: Any) -> CatalogueScan:
        scan = read(*arguments)
        scans.append(weakref.ref(scan))
        return scan

    def watched(*arguments: Any) -> StoreVersion:
        assert [scan() for scan in scans] == [None]
        return publish(*arguments)

    monkeypatch.setattr(CatalogueScan, "read", remembered)
    monkeypatch.setattr(refresh_module, "publish", watched)
    shop.set("p2", title="green running shoes")
    assert shop.refresh().published is not None
    assert len(scans) == 1


def test_the_same_catalogue_twice_changes_nothing(shop: Shop) -> None:
    shop.set("p2", title="green running shoes")
    assert shop.refresh().published is not None
    before = shop.files()
    again = shop.refresh()
    assert (again.base, again.published, again.written, again.encoded, shop.encoded) == (2, None, 0, 0, [])
    assert again.changes == ChangeCounts(new=0, changed=0, updated=0, unchanged=8, removed=0)
    assert {file: data for file, (data, _) in shop.files().items() if file.name != ".lock"} == {
        file: data for file, (data, _) in before.items() if file.name != ".lock"
    }


def test_the_order_of_the_catalogue_changes_nothing(shop: Shop) -> None:
    shop.write(shop.products.reverse())
    assert shop.refresh().published is None


def test_a_removal_alone_makes_a_version(shop: Shop, model_folder: Path, tmp_path: Path) -> None:
    shop.drop("p1", "p7")
    report = shop.refresh()
    assert report.changes == ChangeCounts(new=0, changed=0, updated=0, unchanged=6, removed=2)
    assert (report.written, report.encoded, shop.encoded) == (0, 0, [])
    assert read_version(shop.opened).products == 6
    shop.require_as_built(model_folder, tmp_path)


def test_many_refreshes_equal_one_build(shop: Shop, model_folder: Path, tmp_path: Path) -> None:
    for night in range(5):
        shop.set(f"p{night + 1}", price=100.0 + night)
        shop.set(f"p{night + 2}", title=f"boots of night {night}")
        shop.drop(f"p{8 - night}") if night % 2 else shop.add(f"n{night}", f"belt {night}")
        assert shop.refresh().published is not None
    assert version_numbers(shop.opened) == [5, 6]
    shop.require_as_built(model_folder, tmp_path)


def test_popularity_is_kept_without_interactions_and_counted_with_them(shop: Shop, interactions_file: Path) -> None:
    first = {"p1": 0, "p2": 1, "p3": 3, "p4": 0, "p5": 1, "p6": 0, "p7": 0, "p8": 0}
    assert shop.popularity() == first
    shop.set("p3", title="red silk shirt")
    shop.set("p2", price=99.0)
    shop.add("p9", "belt")
    shop.refresh()
    assert shop.popularity() == first | {"p9": 0}
    log = pl.read_parquet(interactions_file)
    log.with_columns(product_id=pl.lit("p9")).write_parquet(interactions_file)
    report = shop.refresh(interactions=interactions_file)
    assert shop.popularity() == dict.fromkeys(first, 0) | {"p9": 7}
    assert report.changes == ChangeCounts(new=0, changed=0, updated=4, unchanged=5, removed=0)
    assert shop.encoded == []
    answer = Retriever.open(shop.store).recommend(Session(()), 8)
    assert [match.product_id for match in answer.matches] == ["p9"]


@pytest.mark.parametrize("change", ["new", "gone", "another type"])
def test_other_columns_write_every_row_and_encode_none(shop: Shop, change: str) -> None:
    before = shop.rows()
    price = pl.col("price")
    frames = {
        "new": shop.products.with_columns(stock=pl.lit(5)),
        "gone": shop.products.drop("price"),
        "another type": shop.products.with_columns(price.cast(pl.Int64)),
    }
    shop.write(frames[change])
    report = shop.refresh(allow={Gate.SCHEMA})
    assert report.reason is not None
    assert ("stock" if change == "new" else "price") in report.reason
    assert (report.written, report.encoded, shop.encoded) == (8, 0, [])
    after = shop.rows()
    assert after.select(frames[change].columns).equals(frames[change])
    for name in ("vector", "popularity"):
        assert after[name].equals(before[name])
    assert shop.refresh().published is None


def test_another_model_encodes_everything(shop: Shop, other_model_folder: Path, tmp_path: Path) -> None:
    before = shop.answer()
    shop.set("p2", price=99.0)
    report = shop.refresh(model=other_model_folder)
    assert (report.written, report.encoded, sorted(shop.encoded)) == (8, 8, [f"p{row}" for row in range(1, 9)])
    assert report.changes == ChangeCounts(new=0, changed=0, updated=1, unchanged=7, removed=0)
    assert report.reason == "another model made version 1"
    assert shop.answer()["model_id"] == model_id_of(other_model_folder)
    assert shop.popularity()["p3"] == 3
    assert shop.answer(version=1) == before
    shop.require_as_built(other_model_folder, tmp_path)
    assert shop.refresh(model=other_model_folder).published is None


def test_naming_the_live_model_encodes_only_changes(shop: Shop, model_folder: Path) -> None:
    assert shop.refresh(model=model_folder).published is None
    shop.set("p2", title="green running shoes")
    shop.refresh(model=model_folder)
    assert shop.encoded == ["p2"]


def test_the_stores_copy_of_the_model_is_enough(shop: Shop, model_folder: Path) -> None:
    shutil.rmtree(model_folder)
    shop.set("p2", title="green running shoes")
    assert shop.refresh().encoded == 1


def test_a_session_model_is_refreshed_with_its_product_tower(
    shop: Shop, session_model_folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    shop.refresh(model=session_model_folder)
    shop.set("p2", title="green running shoes")
    shop.refresh()
    assert shop.encoded == ["p2"]
    version = read_version(shop.opened)
    assert version.model_id == model_id_of(session_model_folder)
    assert version.product_model_id == model_id_of(model_folder)
    shop.require_as_built(session_model_folder, tmp_path)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_any_file_format_refreshes(shop: Shop, kind: str) -> None:
    """Of the same columns as the one before, which had them from Parquet."""
    attributes = [
        json.dumps({pair["name"]: pair["value"] for pair in row}) for row in shop.products["attributes"].to_list()
    ]
    frame = shop.products.with_columns(pl.Series("attributes", attributes), price=pl.col("price") + 0.5)
    file = shop.file.with_name(f"other.{kind}")
    {"csv": frame.write_csv, "jsonl": frame.write_ndjson, "parquet": frame.write_parquet}[kind](file)
    report = shop.refresh(products=file)
    assert report.changes == ChangeCounts(new=0, changed=0, updated=8, unchanged=0, removed=0)
    assert (report.reason, shop.encoded) == (None, [])
    assert read_version(shop.opened).source == f"other.{kind}"
    assert shop.rows()["price"].to_list() == [0.5 + row for row in range(8)]
    assert shop.refresh(products=file).published is None


@pytest.mark.parametrize("case", ["changes", "nothing", "columns", "model", "gate"])
def test_a_dry_run_reports_and_writes_nothing(shop: Shop, other_model_folder: Path, case: str) -> None:
    if case == "changes":
        shop.set("p2", title="green running shoes")
        shop.set("p3", price=99.0)
        shop.drop("p8")
    elif case == "columns":
        shop.write(shop.products.drop("price"))
    elif case == "gate":
        shop.drop("p3", "p4", "p5", "p6", "p7", "p8")
    before = (shop.files(), sorted(shop.store.rglob("*")))
    options = {"model": other_model_folder} if case == "model" else {}
    planned = shop.refresh(dry_run=True, **options)
    assert (shop.files(), sorted(shop.store.rglob("*"))) == before
    assert shop.encoded == []
    assert planned.published is None
    if case == "gate":
        return
    done = shop.refresh(allow={Gate.SCHEMA}, **options)
    assert (planned.base, planned.changes, planned.written, planned.encoded, planned.reason) == (
        done.base,
        done.changes,
        done.written,
        done.encoded,
        done.reason,
    )


def test_a_dry_run_does_not_wait_for_a_writer(shop: Shop) -> None:
    shop.set("p2", title="green running shoes")
    with shop.opened.write_lock():
        assert shop.refresh(dry_run=True).encoded == 1
        with pytest.raises(Conflict, match="another process is writing"):
            shop.refresh()


def test_old_versions_are_pruned_as_the_settings_say(shop: Shop) -> None:
    pruned = []
    for night in range(4):
        shop.set("p3", title=f"red silk shirt {night}")  # without another text, version 1 would be shared
        report = shop.refresh(settings=RefreshSettings(gates=shop.LOOSE, keep=KeepPolicy(versions=3)))
        pruned.append(report.pruned)
    assert pruned == [(), (), (1,), (2,)]
    assert report.freed > 0
    assert version_numbers(shop.opened) == [3, 4, 5]
    assert (read_live(shop.opened).version, read_live(shop.opened).history[:2]) == (5, (4, 3))
    assert shop.rows(3)["title"][2] == "red silk shirt 1"


def test_a_report_is_json(shop: Shop) -> None:
    shop.set("p2", title="green running shoes")
    document = json.loads(json.dumps(shop.refresh().to_dict()))
    assert {
        name: document[name] for name in ("base", "version", "new", "changed", "updated", "unchanged", "removed")
    } == {
        "base": 1,
        "version": 2,
        "new": 0,
        "changed": 1,
        "updated": 0,
        "unchanged": 7,
        "removed": 0,
    }
    assert (document["written"], document["encoded"], document["resumed"], document["reason"]) == (1, 1, 0, None)
    assert set(document["gates"]) == set(Gate) - {Gate.LATENCY}
    assert all(seconds >= 0 for seconds in document["seconds"].values())
    again = json.loads(json.dumps(shop.refresh().to_dict()))
    assert (again["base"], again["version"], again["gates"]) == (2, None, {})


def test_words_are_weighed_by_the_length_of_new_texts_where_most_are_new(shop: Shop) -> None:
    def mean_length() -> float:
        version = read_version(shop.opened)
        return read_words(shop.store / f"versions/{version.version}" / WORDS_FILE, version.products).lists.mean_length

    first = mean_length()
    shop.set("p1", title="a long title of a pair of shoes")
    shop.refresh()
    assert mean_length() == first
    for row in range(2, 8):
        shop.set(f"p{row}", title=f"the long title of product {row} of this shop")
    shop.refresh()
    assert mean_length() > first
