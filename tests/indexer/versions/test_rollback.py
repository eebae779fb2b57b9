"""Back to a version that answered before, at once and only to one that is whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from indexer.refresh.gates import Gate
from indexer.refresh.refresh import refresh
from indexer.search.retriever import Retriever
from indexer.storage.storage import Storage
from indexer.store.embedding_store import EmbeddingStore
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


def test_the_version_before_answers_again(nights: Path, opened: EmbeddingStore) -> None:
    done = roll_back(opened)
    assert (done.before, done.now.version) == (3, 2)
    assert prices(nights) == {2.0}


def test_step_by_step_to_the_first_and_no_further(nights: Path, opened: EmbeddingStore) -> None:
    assert [roll_back(opened).now.version for _ in range(2)] == [2, 1]
    with pytest.raises(NotFound, match="no version was live before this one"):
        roll_back(opened)
    assert prices(nights) == {1.0}


def test_to_one_that_is_named_and_back(opened: EmbeddingStore) -> None:
    assert roll_back(opened, 1).now.version == 1
    done = roll_back(opened, 3)
    assert (done.before, done.now.version) == (1, 3)
    assert version_before(opened) == 1


def test_to_the_live_version_changes_nothing(nights: Path, opened: EmbeddingStore) -> None:
    before = (nights / "live.json").read_bytes()
    done = roll_back(opened, 3)
    assert (done.before, done.now.version) == (3, 3)
    assert (nights / "live.json").read_bytes() == before


def test_the_next_refresh_gets_a_new_number_and_comes_after(
    nights: Path, opened: EmbeddingStore, catalogue: Callable[[int], Path]
) -> None:
    roll_back(opened)
    done = refresh(products=catalogue(4), store=nights, allow=[Gate.NEIGHBOURS, Gate.CENTROID])
    assert done.published is not None
    assert (done.base, done.published.version) == (2, 4)
    assert read_live(opened).history == (2, 1)
    assert prices(nights) == {4.0}


def test_it_does_not_wait_for_a_writer(nights: Path, opened: EmbeddingStore) -> None:
    with EmbeddingStore.open(nights).write_lock():
        assert roll_back(opened).now.version == 2


def test_something_else_made_live_meanwhile_is_not_overwritten(
    nights: Path, opened: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = opened.storage.exists

    def publish_meanwhile(storage: Storage, name: str) -> bool:
        (nights / "live.json").write_text('{"version": 1, "history": []}')
        return checked(name)

    monkeypatch.setattr(type(opened.storage), "exists", publish_meanwhile)
    with pytest.raises(Conflict, match="changed by another process"):
        roll_back(opened)
    assert live_number(opened) == 1


class TestWithoutLive:
    @pytest.mark.parametrize("text", [None, "garbage", "[]", '{"version": "3"}'])
    def test_a_version_that_is_named_mends_it(self, nights: Path, opened: EmbeddingStore, text: str | None) -> None:
        (nights / "live.json").unlink() if text is None else (nights / "live.json").write_text(text)
        with pytest.raises(InvalidData, match=r"live\.json"):
            roll_back(opened)
        done = roll_back(opened, 2)
        assert (done.before, done.now.version) == (None, 2)
        assert prices(nights) == {2.0}


class TestToADamagedVersion:
    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("versions/2/index.faiss", r"versions/2/index\.faiss: missing; version 2 is damaged"),
            ("versions/2/ids.parquet", r"versions/2/ids\.parquet: missing"),
            ("versions/2/manifest.json", r"versions/2/manifest\.json: missing"),
            ("models", r"models/\w+/config\.json: missing"),
            ("products.lance", r"products\.lance: "),
        ],
    )
    def test_where_something_is_missing(self, nights: Path, opened: EmbeddingStore, name: str, problem: str) -> None:
        shutil.rmtree(nights / name) if (nights / name).is_dir() else (nights / name).unlink()
        with pytest.raises(InvalidData, match=problem):
            roll_back(opened, 2)
        assert live_number(opened) == 3

    @pytest.mark.parametrize("name", ["index.faiss", "ids.parquet"])
    def test_where_something_is_truncated(self, nights: Path, opened: EmbeddingStore, name: str) -> None:
        file = nights / "versions/2" / name
        file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(InvalidData, match=r"versions/2: truncated; .*ubm-embed doctor --store"):
            roll_back(opened, 2)
        assert live_number(opened) == 3

    def test_whose_rows_the_table_no_longer_keeps(self, opened: EmbeddingStore) -> None:
        opened.table.unpin(2)
        assert lost_its_rows(opened, read_version(opened, 2))
        with pytest.raises(InvalidData, match="does not keep its rows; version 2 is damaged"):
            roll_back(opened)

    def test_one_that_is_gone_is_passed_over(self, nights: Path, opened: EmbeddingStore) -> None:
        shutil.rmtree(nights / "versions/2")
        assert version_before(opened) == 1
        with pytest.raises(NotFound, match=r"no version 2 in .*; known versions: 1, 3"):
            roll_back(opened, 2)


@pytest.mark.parametrize("number", [None, 3])
def test_a_place_without_versions(tmp_path: Path, number: int | None) -> None:
    with pytest.raises(NotFound, match=r"no version in .*none"):
        roll_back(EmbeddingStore.from_uri(tmp_path / "none"), number)
    assert not (tmp_path / "none").exists()
