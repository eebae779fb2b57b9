"""Damage to revisions and to versions that share files: it is named, and its remedy leads back to answers."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from cli.main import run
from indexer.health import revised_rows
from indexer.health.doctor import Severity, examine
from indexer.health.repair import repair
from indexer.refresh.gates import Gate
from indexer.refresh.refresh import refresh
from indexer.revisions import version_rows
from indexer.search.retriever import Retriever
from indexer.store.embedding_store import EmbeddingStore
from indexer.updates.updater import Updater
from indexer.versions.live import Live, read_live
from indexer.versions.version import read_version
from tests.indexer.health.test_doctor import Damage, flip, follow, missing, on, truncate
from ubm_embed.data.session import Action, Interaction, Session
from ubm_embed.errors import InvalidData, UbmError

SESSION = Session((Interaction(Action.VIEW, product_id="p2"), Interaction(Action.SEARCH, query="red")))
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
REPAIR, DROP, BACK = "doctor --repair", "versions rollback 2.0", "versions rollback 1"
# Of what nobody embeds: as published, upserted, and in the catalogue of the second night.
PRICES = {"1": 0.0, "2": 50.0, "2.1": 70.0}


def segment(damage: Callable[[Path], object]) -> Damage:
    def change(store: Path) -> None:
        (file,) = (store / "revisions/2").iterdir()
        damage(file)

    return change


DAMAGES: dict[str, tuple[Damage, str, str]] = {
    "segment missing": (segment(Path.unlink), r"revisions/2/1-\w+\.arrow: missing", DROP),
    "segment truncated": (segment(truncate), r"revisions/2/1-\w+\.arrow: truncated or damaged", DROP),
    "segment flipped": (segment(flip), r"revisions/2/1-\w+\.arrow: damaged", DROP),
    "patch missing": (missing("versions/2/patch.arrow"), r"2/patch\.arrow: missing", BACK),
    "patch flipped": (on("versions/2/patch.arrow", flip), r"2/patch\.arrow: damaged", BACK),
    "popularity flipped": (on("versions/2/popularity.npy", flip), r"2/popularity\.npy: damaged", REPAIR),
    "popular missing": (missing("versions/2/popular.npy"), r"2/popular\.npy: missing", REPAIR),
    "shared canaries truncated": (on("versions/1/canaries.json", truncate), r"1/canaries\.json: truncated", REPAIR),
    "manifest missing": (missing("versions/2/manifest.json"), r"2/manifest\.json: missing", BACK),
    "shared index flipped": (on("versions/1/index.faiss", flip), r"1/index\.faiss: damaged", REPAIR),
    "shared hashes missing": (missing("versions/1/text_hashes.npy"), r"1/text_hashes\.npy: missing", REPAIR),
    "shared folder missing": (missing("versions/1"), r"versions/1: missing; version 2 shares its files", REPAIR),
    "shared manifest missing": (missing("versions/1/manifest.json"), r"1/manifest\.json: missing", REPAIR),
}


@pytest.fixture
def shared(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    store: Path,
    products_file: Path,
    interactions_file: Path,
) -> Path:
    """Version 2 shares the files of version 1, with another price of p1; revision 2.1 has another one, and p9.

    Made once and copied.
    """
    made = tmp_path_factory.getbasetemp() / "shared"
    if not made.exists():
        price = pl.when(pl.col("product_id") == "p1").then(pl.lit(50.0)).otherwise("price")
        pl.read_parquet(products_file).with_columns(price=price).write_parquet(tmp_path / "second.parquet")
        refresh(products=tmp_path / "second.parquet", interactions=interactions_file, store=store)
        assert read_version(EmbeddingStore.open(store)).shares_files_of == 1
        with Updater(store) as updater:
            updater.upsert([{"product_id": "p1", "price": 70.0}, {"product_id": "p9", "title": "red socks"}])
        shutil.copytree(store, made)
    shutil.rmtree(store)
    return Path(shutil.copytree(made, store))


def price(store: Path | str) -> float | None:
    """That of p1, as answers have it."""
    matches = Retriever.open(store, device="cpu").recommend(SESSION, 20).matches
    return next((match.fields["price"] for match in matches if match.product_id == "p1"), None)


def errors(store: Path) -> list[str]:
    return [finding.problem for finding in examine(store) if finding.severity is Severity.ERROR]


def test_a_whole_store_is_whole(shared: Path) -> None:
    assert examine(shared) == []
    assert price(shared) == PRICES["2.1"]


def require_named_or_unnoticed(store: Path, name: str, message: str) -> None:
    """Require that a query names the damage, or answers as before."""
    try:
        assert price(store) == PRICES["2.1"]
        assert "flipped" in name or "hashes" in name, "these are for the doctor to find"
    except UbmError as error:
        assert re.search(message.partition(":")[0], str(error))  # noqa: PT017


@pytest.mark.parametrize("name", DAMAGES)
def test_it_is_named_and_its_remedy_leads_back_to_answers(
    shared: Path, model_folder: Path, products_file: Path, name: str
) -> None:
    damage, message, remedy = DAMAGES[name]
    damage(shared)
    require_named_or_unnoticed(shared, name, message)
    first, *others = [finding for finding in examine(shared) if finding.severity is Severity.ERROR]
    assert re.search(message, first.problem)
    assert f"ubm-embed {remedy}" in first.remedy
    assert first.repairable == (remedy is REPAIR)
    assert all("shares the files of version 1" in finding.problem for finding in others)
    follow(first.remedy, model_folder, products_file)
    after = [finding for finding in examine(shared) if finding.severity is Severity.ERROR]
    if remedy is BACK:  # what is damaged is still there, until it is pruned
        assert [finding.version for finding in after] == [2]
        follow(after[0].remedy, model_folder, products_file)
        after = []
    assert errors(shared) == []
    label = {REPAIR: "2.1", DROP: "2", BACK: "1"}[remedy]
    assert price(shared) == PRICES[label]


def test_a_revision_that_is_dropped_says_what_that_costs(shared: Path) -> None:
    segment(Path.unlink)(shared)
    (finding,) = examine(shared)
    assert finding.remedy == (
        f"ubm-embed versions rollback 2.0 --store {shared}, which drops 2 changes of revision 2.1; "
        "the next refresh brings back what its catalogue has"
    )


def test_a_damaged_revision_of_a_version_that_is_not_live(shared: Path) -> None:
    assert run(["versions", "rollback", "1", "--store", str(shared)]) == 0
    segment(Path.unlink)(shared)
    (finding,) = examine(shared)
    assert (finding.version, finding.severity) == (2, Severity.ERROR)
    assert "ubm-embed versions prune --keep 1" in finding.remedy


def test_a_repair_that_was_killed_before_all_manifests_agree_is_completed(shared: Path) -> None:
    """The base was rebuilt, as from another version of the table; the version that shares its files does not say so."""
    manifest = shared / "versions/2/manifest.json"
    whole = manifest.read_text()
    manifest.write_text(json.dumps(json.loads(whole) | {"table_version": 99}))
    (finding,) = examine(shared)
    assert finding.problem.endswith("1/manifest.json: version 2 shares its files, but was made for others")
    follow(finding.remedy, shared, shared)
    assert json.loads(manifest.read_text()) == json.loads(whole)
    assert (examine(shared), price(shared)) == ([], PRICES["2.1"])


def test_popularity_that_is_lost_may_be_older_afterwards(shared: Path) -> None:
    notices: list[str] = []
    (shared / "versions/2/popularity.npy").unlink()
    (repaired,) = repair(shared, notices.append)
    assert notices == ["popularity of version 2 is lost: it is now that of version 1"]
    assert repaired == read_version(EmbeddingStore.open(shared), 2)
    assert examine(shared) == []


def test_repairing_a_popular_file_restores_it(shared: Path) -> None:
    notices: list[str] = []
    file = shared / "versions/2/popular.npy"
    before = file.read_bytes()
    file.unlink()
    repair(shared, notices.append)
    assert (file.read_bytes(), notices) == (before, [])


@pytest.fixture(params=["shared", "own"])
def newer(store: Path, products_file: Path, request: pytest.FixtureRequest) -> Path:
    """Version 2 has products that are newer than its feed: another price, which shares files, or another text."""
    values = {"price": 70.0} if request.param == "shared" else {"price": 70.0, "title": "boots"}
    with Updater(store, device="cpu") as updater:
        updater.upsert([{"product_id": "p1", **values}])
    version = refresh(store=store, products=products_file, feed_time=LONG_AGO, allow=set(Gate)).published
    assert version is not None
    assert (version.shares_files_of is not None) == (request.param == "shared")
    return store


@pytest.mark.parametrize("lost", ["popularity.npy", "popular.npy"])
def test_a_repaired_version_knows_what_is_newer_than_its_feed(newer: Path, products_file: Path, lost: str) -> None:
    (newer / "versions/2" / lost).unlink()
    repair(newer)
    assert errors(newer) == []
    assert refresh(store=newer, products=products_file, feed_time=LONG_AGO, allow=set(Gate)).published is None
    assert price(newer) == 70.0


@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink])
def test_without_what_is_newer_than_a_feed_nothing_is_refreshed(
    newer: Path, products_file: Path, damage: Callable[[Path], object]
) -> None:
    damage(newer / "versions/2/kept.arrow")
    with pytest.raises(InvalidData, match=r"kept\.arrow: (missing|damaged)"):
        refresh(store=newer, products=products_file, allow=set(Gate))
    assert re.search(r"kept\.arrow: ", errors(newer)[0])
    notices: list[str] = []
    repair(newer, notices.append)
    assert any("newer than the catalogue of version 2 is no longer known" in notice for notice in notices)
    assert (errors(newer), price(newer)) == ([], 70.0)


def test_segments_of_a_merge_and_of_lost_races_are_a_note(shared: Path) -> None:
    stray = shared / "revisions/2" / f"1-{'0' * 16}.arrow"
    stray.write_bytes(b"half")
    assert examine(shared) == [], "a writer may be about to publish it"
    os.utime(stray, (time.time() - 7200,) * 2)
    (finding,) = examine(shared)
    assert (finding.severity, finding.problem) == (Severity.NOTE, f"{stray}: no revision has it any more")
    follow(finding.remedy, shared, shared)
    assert examine(shared) == []


def test_a_revision_of_a_version_that_is_gone_is_a_note(shared: Path) -> None:
    live = read_live(EmbeddingStore.open(shared))
    revision = live.revisions[2]
    edited = Live(version=2, history=(1,), last=9, revisions={2: revision, 9: revision})
    (shared / "live.json").write_bytes(edited.to_bytes())
    (finding,) = examine(shared)
    assert (finding.severity, finding.version) == (Severity.NOTE, None)
    assert finding.problem.endswith("live.json: has revisions of versions that do not exist: 9")
    follow(finding.remedy, shared, shared)
    assert examine(shared) == []


def test_an_upsert_while_the_doctor_reads_is_no_damage(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, upserted = version_rows.read_rows, []

    def upsert_before(*arguments: object, **options: object) -> object:
        if not upserted and arguments[2] is not None:
            upserted.append(True)
            with Updater(shared) as updater:
                updater.delete(["p9", "p8"])
            for file in (shared / "revisions/2").glob("1-*"):
                file.unlink()
        return read(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(version_rows, "read_rows", upsert_before)
    assert errors(shared) == []
    assert upserted


def test_a_row_whose_text_is_not_that_of_its_vector_is_named(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a program that writes segments wrongly would leave it."""
    hashes = revised_rows.with_hashes
    monkeypatch.setattr(
        revised_rows, "with_hashes", lambda rows: hashes(rows.with_columns(title=pl.lit("another title")))
    )
    assert [re.sub(r".*/", "", problem) for problem in errors(shared)] == [
        "patch.arrow: 1 of 1 products have a text that was not encoded"
    ]


def test_a_store_on_an_object_store_is_checked_too(shared: Path, bucket_uri: str) -> None:
    remote = EmbeddingStore.from_uri(bucket_uri)
    for file in sorted(shared.rglob("*"), key=lambda file: file.name == "live.json"):
        if file.is_file() and not file.name.startswith("."):
            remote.storage.write(file.relative_to(shared).as_posix(), file.read_bytes())
    assert examine(bucket_uri) == []
    (name,) = remote.storage.list("revisions/2")
    remote.storage.remove(f"revisions/2/{name}")
    (finding,) = examine(bucket_uri)
    assert finding.problem == f"{bucket_uri}/revisions/2/{name}: missing; the store is damaged"
    shutil.rmtree(shared)
    follow(finding.remedy, shared, shared)
    assert examine(bucket_uri) == []
    assert price(bucket_uri) == PRICES["2"]
