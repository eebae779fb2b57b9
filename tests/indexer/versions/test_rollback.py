"""An earlier version is made live at once, and only if it is complete."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from indexer.refresh.gates import Gate
from indexer.refresh.refresh import refresh
from indexer.search.retriever import Retriever
from indexer.storage.local_storage import LocalStorage
from indexer.storage.storage import Storage
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.product_table import ProductTable
from indexer.versions.live import live_number, read_live
from indexer.versions.rollback import lost_its_rows, roll_back, version_before
from indexer.versions.version import read_version
from ubm_embed.data.session import Action, Interaction, Session
from ubm_embed.errors import Conflict, InvalidData, NotFound

SESSION = Session((Interaction(Action.VIEW, product_id="p1"),))


@pytest.fixture
def opened(nights: Path) -> EmbeddingStore:
    return EmbeddingStore.open(nights)


def prices(store: Path) -> set[float]:
    return {match.fields["price"] for match in Retriever.open(store, device="cpu").recommend(SESSION, 20).matches}


def contents(store: Path) -> dict[str, bytes]:
    files = (file for file in store.rglob("*") if file.is_file())
    return {file.relative_to(store).as_posix(): file.read_bytes() for file in files if not file.name.startswith(".")}


def test_the_version_before_answers_again(nights: Path, opened: EmbeddingStore) -> None:
    result = roll_back(opened)
    assert (result.before, result.now.version) == (3, 2)
    assert prices(nights) == {2.0}


def test_step_by_step_to_the_first_version(nights: Path, opened: EmbeddingStore) -> None:
    assert [roll_back(opened).now.version for _ in range(2)] == [2, 1]
    with pytest.raises(NotFound, match="no version was live before this one"):
        roll_back(opened)
    assert prices(nights) == {1.0}


def test_to_a_given_version_and_back(opened: EmbeddingStore) -> None:
    assert roll_back(opened, 1).now.version == 1
    result = roll_back(opened, 3)
    assert (result.before, result.now.version) == (1, 3)
    assert version_before(opened) == 1


def test_to_the_live_version_changes_nothing(nights: Path, opened: EmbeddingStore) -> None:
    before = (nights / "live.json").read_bytes()
    result = roll_back(opened, 3)
    assert (result.before, result.now.version) == (3, 3)
    assert (nights / "live.json").read_bytes() == before


def test_the_next_refresh_gets_a_new_number_and_comes_after(
    nights: Path, opened: EmbeddingStore, catalogue: Callable[[int], Path]
) -> None:
    roll_back(opened)
    report = refresh(products=catalogue(4), store=nights, allow=[Gate.NEIGHBOURS, Gate.CENTROID])
    assert report.published is not None
    assert (report.base, report.published.version) == (2, 4)
    assert read_live(opened).history == (2, 1)
    assert prices(nights) == {4.0}


def test_it_writes_one_small_file_and_reads_no_rows_index_or_model(
    nights: Path, opened: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it takes no longer for a large catalogue."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("it reads what grows with the catalogue")

    before = contents(nights)
    for owner, name in (
        (LocalStorage, "open_folder"),
        (ProductTable, "read"),
        (ProductTable, "batches"),
        (ProductTable, "snapshot"),
    ):
        monkeypatch.setattr(owner, name, refuse)
    roll_back(opened)
    assert {name for name, data in contents(nights).items() if before.get(name) != data} == {"live.json"}


def test_to_a_version_of_older_software_whose_manifest_has_fewer_fields(nights: Path, opened: EmbeddingStore) -> None:
    file = nights / "versions/2/manifest.json"
    document = json.loads(file.read_text())
    for name in ("runtime", "product_model_id", "alignment"):
        document.pop(name, None)
    file.write_text(json.dumps(document))
    assert roll_back(opened, 2).now.version == 2


def test_it_does_not_wait_for_a_writer(nights: Path, opened: EmbeddingStore) -> None:
    with EmbeddingStore.open(nights).write_lock():
        assert roll_back(opened).now.version == 2


def test_a_version_made_live_meanwhile_is_not_overwritten(
    nights: Path, opened: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    exists = opened.storage.exists

    def publish_meanwhile(storage: Storage, name: str) -> bool:
        (nights / "live.json").write_text('{"version": 1, "history": []}')
        return exists(name)

    monkeypatch.setattr(type(opened.storage), "exists", publish_meanwhile)
    with pytest.raises(Conflict, match="changed by another process"):
        roll_back(opened)
    assert live_number(opened) == 1


class TestWithoutLive:
    @pytest.mark.parametrize("text", [None, "garbage", "[]", '{"version": "3"}'])
    def test_a_given_version_repairs_it(self, nights: Path, opened: EmbeddingStore, text: str | None) -> None:
        (nights / "live.json").unlink() if text is None else (nights / "live.json").write_text(text)
        with pytest.raises(InvalidData, match=r"live\.json"):
            roll_back(opened)
        result = roll_back(opened, 2)
        assert (result.before, result.now.version) == (None, 2)
        assert prices(nights) == {2.0}


class TestToADamagedVersion:
    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("versions/2/index.faiss", r"versions/2/index\.faiss: missing; version 2 is damaged"),
            ("versions/2/products.arrow", r"versions/2/products\.arrow: missing"),
            ("versions/2/manifest.json", r"versions/2/manifest\.json: missing"),
            ("models", r"models/\w+/config\.json: missing"),
            ("products.lance", r"products\.lance: "),
        ],
    )
    def test_with_a_missing_file(self, nights: Path, opened: EmbeddingStore, name: str, problem: str) -> None:
        shutil.rmtree(nights / name) if (nights / name).is_dir() else (nights / name).unlink()
        with pytest.raises(InvalidData, match=problem):
            roll_back(opened, 2)
        assert live_number(opened) == 3

    @pytest.mark.parametrize("name", ["index.faiss", "products.arrow"])
    def test_with_a_truncated_file(self, nights: Path, opened: EmbeddingStore, name: str) -> None:
        file = nights / "versions/2" / name
        file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(InvalidData, match=r"versions/2: truncated; .*ubm-embed doctor --store"):
            roll_back(opened, 2)
        assert live_number(opened) == 3

    def test_whose_rows_are_lost(self, opened: EmbeddingStore) -> None:
        opened.table.unpin(2)
        assert lost_its_rows(opened, read_version(opened, 2))
        with pytest.raises(InvalidData, match="does not keep its rows; version 2 is damaged"):
            roll_back(opened)

    def test_a_missing_version_is_skipped(self, nights: Path, opened: EmbeddingStore) -> None:
        shutil.rmtree(nights / "versions/2")
        assert version_before(opened) == 1
        with pytest.raises(NotFound, match=r"no version 2 in .*; known versions: 1, 3"):
            roll_back(opened, 2)


@pytest.mark.parametrize("number", [None, 3])
def test_without_versions(tmp_path: Path, number: int | None) -> None:
    with pytest.raises(NotFound, match=r"no version in .*none"):
        roll_back(EmbeddingStore.from_uri(tmp_path / "none"), number)
    assert not (tmp_path / "none").exists()
