"""An index, its ids and its manifest can be rebuilt from the table, and answer as before."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from indexer.health.doctor import examine
from indexer.health.repair import rebuild, repair
from indexer.refresh.refresh import build_index
from indexer.search.answer import Match
from indexer.search.retriever import Retriever
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.live import live_number
from indexer.versions.version import CANARIES_FILE, digest_of, read_version
from tests.indexer.same_answers import assert_same_matches
from ubm_embed.data.session import Action, Interaction, Product, Session
from ubm_embed.errors import Conflict, InvalidData, NotFound
from ubm_embed.inference import environment

SESSION = Session((Interaction(Action.VIEW, product_id="p1"), Interaction(Action.SEARCH, query="red")))


def recommend(store: Path, version: int | None = None) -> tuple[Match, ...]:
    return Retriever.open(store, version=version, device="cpu").recommend(SESSION, 20).matches


def test_a_whole_store_is_left_alone(nights: Path) -> None:
    before = {file: file.read_bytes() for file in nights.rglob("*.*") if file.is_file()}
    assert repair(nights) == []
    assert {file: file.read_bytes() for file in before} == before


@pytest.mark.parametrize("lost", ["index.faiss", "products.arrow", "popular.npy", "manifest.json", ""])
def test_a_rebuilt_version_answers_as_before(nights: Path, lost: str) -> None:
    before = recommend(nights)
    path = nights / "versions/3" / lost
    path.unlink() if path.is_file() else shutil.rmtree(path)
    assert [version.version for version in repair(nights)] == [3]
    assert_same_matches(recommend(nights), before)
    assert examine(nights) == []


def test_all_versions_are_rebuilt_and_the_same_one_stays_live(nights: Path) -> None:
    before = {number: recommend(nights, number) for number in (1, 2, 3)}
    for number in (1, 2, 3):
        (nights / f"versions/{number}/index.faiss").write_bytes(b"")
    assert [version.version for version in repair(nights)] == [1, 2, 3]
    for number in (1, 2, 3):
        assert_same_matches(recommend(nights, number), before[number])
    assert live_number(EmbeddingStore.open(nights)) == 3


def test_an_intact_manifest_keeps_what_only_it_records(nights: Path) -> None:
    before = read_version(EmbeddingStore.open(nights), 3)
    (nights / "versions/3/index.faiss").unlink()
    (after,) = repair(nights)
    rebuilt = {"files": {}, "parameters": {}, "kind": "flat", "index_update": {}}
    assert after.replace(**rebuilt) == before.replace(**rebuilt)
    assert (after.index_spec, after.index_request) == (before.index_spec, before.index_request)
    assert after == read_version(EmbeddingStore.open(nights), 3)


def test_a_lost_manifest_is_marked_as_such(nights: Path) -> None:
    before = read_version(EmbeddingStore.open(nights), 3)
    (nights / "versions/3/manifest.json").write_text("{")
    (after,) = repair(nights)
    assert after.source == "unknown: the manifest was lost"
    for name in ("table_version", "model_id", "product_model_id", "dimension", "products", "uniformity"):
        assert getattr(after, name) == getattr(before, name), name


def test_a_manifest_of_other_rows_is_corrected_by_the_table(nights: Path) -> None:
    before, file = recommend(nights), nights / "versions/3/manifest.json"
    document = json.loads(file.read_text())
    table_version = EmbeddingStore.from_uri(nights).table.pins()[1]
    file.write_text(json.dumps(document | {"table_version": table_version, "products": 9, "indexed": 9}))
    assert [version.table_version for version in repair(nights)] == [document["table_version"]]
    assert_same_matches(recommend(nights), before)


def test_a_session_tower_is_recognized(tmp_path: Path, session_model_folder: Path, products_file: Path) -> None:
    store = tmp_path / "store"
    before = build_index(model=session_model_folder, products=products_file, store=store)
    (store / "versions/1/manifest.json").unlink()
    (after,) = repair(store)
    assert (after.model_id, after.product_model_id) == (before.model_id, before.product_model_id)
    assert after.product_model_id not in (None, after.model_id)
    assert Retriever.open(store).lookup(Product("red shirt", None, ())).matches


def test_another_writer_excludes_it(nights: Path) -> None:
    (nights / "versions/3/index.faiss").unlink()
    with EmbeddingStore.open(nights).write_lock(), pytest.raises(Conflict, match="another process is writing"):
        repair(nights)


def test_without_a_store(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no store at"):
        repair(tmp_path / "none")
    assert not (tmp_path / "none").exists()


class TestRebuild:
    def test_a_version_that_never_existed(self, nights: Path) -> None:
        store = EmbeddingStore.open(nights)
        with store.write_lock(), pytest.raises(NotFound, match="no version 9"):
            rebuild(store, 9)

    def test_a_version_of_which_nothing_is_left(self, nights: Path) -> None:
        store = EmbeddingStore.open(nights)
        (nights / "versions/1/manifest.json").unlink()
        store.table.unpin(1)
        with store.write_lock(), pytest.raises(InvalidData, match="which version of the table") as caught:
            rebuild(store, 1)
        assert caught.value.file == str(nights / "versions/1/manifest.json")

    def test_lost_rows_are_not_replaced_by_others(self, nights: Path) -> None:
        store = EmbeddingStore.open(nights)
        store.table.unpin(1)
        with store.write_lock(), pytest.raises(InvalidData, match="which version of the table"):
            rebuild(store, 1)

    def test_without_manifest_and_model_the_missing_model_is_named(self, nights: Path) -> None:
        store = EmbeddingStore.open(nights)
        (nights / "versions/3/manifest.json").unlink()
        shutil.rmtree(nights / "models")
        with store.write_lock(), pytest.raises(InvalidData, match=r"models/\w+: missing; version 3 needs it"):
            rebuild(store, 3)

    def test_a_damaged_table_leaves_the_version_unchanged(self, nights: Path) -> None:
        store = EmbeddingStore.open(nights)
        shutil.rmtree(nights / "products.lance/data")
        before = sorted(file.name for file in (nights / "versions/3").iterdir())
        with store.write_lock(), pytest.raises(InvalidData, match=r"products\.lance"):
            rebuild(store, 3)
        assert sorted(file.name for file in (nights / "versions/3").iterdir()) == before

    def test_a_version_of_older_software_is_pinned(self, nights: Path) -> None:
        """It neither pinned rows nor described files; the next pruning must not take the rebuilt version for lost."""
        store, file = EmbeddingStore.open(nights), nights / "versions/3/manifest.json"
        before = recommend(nights)
        file.write_text(json.dumps(json.loads(file.read_text()) | {"files": {}}))
        store.table.unpin(3)
        with store.write_lock():
            rebuild(store, 3)
        assert store.table.pins()[3] == read_version(store, 3).table_version
        assert_same_matches(recommend(nights), before)


def test_canaries_stay_as_they_were_published(nights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = nights / "versions/3" / CANARIES_FILE
    before = file.read_bytes()
    (nights / "versions/3/index.faiss").unlink()
    monkeypatch.setattr(environment, "_LIBRARIES", {"numpy": ("pylance",)})
    repair(nights)
    assert file.read_bytes() == before
    assert [finding.problem for finding in examine(nights)] == []


@pytest.mark.parametrize("damage", ["lost", "flipped"])
def test_damaged_canaries_are_made_again(nights: Path, damage: str) -> None:
    file = nights / "versions/3" / CANARIES_FILE
    before = file.read_bytes()
    file.unlink() if damage == "lost" else file.write_bytes(before.replace(b"red shirt 3", b"red shirt 4"))
    (finding,) = examine(nights)
    assert CANARIES_FILE in finding.problem
    repair(nights)
    assert file.read_bytes() == before
    assert examine(nights) == []


def test_a_version_is_repaired_without_its_model(nights: Path) -> None:
    before = (nights / "versions/3" / CANARIES_FILE).read_bytes()
    shutil.rmtree(nights / "models")
    (nights / "versions/3/index.faiss").unlink()
    (repaired,) = repair(nights)
    assert repaired.files[CANARIES_FILE] == digest_of(before)
    (nights / "versions/3" / CANARIES_FILE).unlink()
    (repaired,) = repair(nights)
    assert CANARIES_FILE not in repaired.files
