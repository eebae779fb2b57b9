"""One small file says what answers, what did before, and changes in one step."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from indexer.storage.local_storage import LocalStorage
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.live import Live, live_number, make_live, publish_revision, read_live, update_live
from indexer.versions.revision import Revision
from ubm_embed.errors import Conflict, InvalidData


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore.from_uri(tmp_path)


def publish(store: EmbeddingStore, *numbers: int) -> Live:
    for number in numbers:
        make_live(store, number, known=read_live(store) if store.storage.exists("live.json") else None)
    return read_live(store)


def test_the_version_made_live_last_is_live(store: EmbeddingStore) -> None:
    assert publish(store, 1).version == live_number(store) == 1
    assert publish(store, 2, 4).version == live_number(store) == 4


@pytest.mark.parametrize(
    ("published", "history"),
    [
        ([1], ()),
        ([1, 2, 4], (2, 1)),
        ([1, 2, 2], (1,)),  # published again
        ([1, 2, 3, 2], (1,)),  # rolled back: 3 is withdrawn
        ([1, 2, 3, 1], ()),
        ([1, 2, 3, 2, 4], (2, 1)),
        ([1, 2, 1, 2], (1,)),
    ],
)
def test_history_holds_what_answered_before_and_was_not_withdrawn(
    store: EmbeddingStore, published: list[int], history: tuple[int, ...]
) -> None:
    live = publish(store, *published)
    assert (live.version, live.history) == (published[-1], history)


def test_history_does_not_grow_forever() -> None:
    live = Live(version=1, history=(), last=1)
    for number in range(2, 500):
        live = live.after(number)
    assert live.version == 499
    assert live.history[:2] == (498, 497)
    assert len(live.history) == 100


def test_a_version_published_meanwhile_is_not_overwritten(store: EmbeddingStore) -> None:
    known = publish(store, 1)
    publish(store, 2)
    with pytest.raises(Conflict, match=r"live\.json was changed by another process meanwhile; nothing was published"):
        make_live(store, 3, known=known)
    with pytest.raises(Conflict):
        make_live(store, 3, known=None)
    assert read_live(store).version == 2


def test_a_history_that_changed_meanwhile_is_noticed_too(store: EmbeddingStore) -> None:
    known = publish(store, 1, 2)
    assert publish(store, 1, 3, 2).version == known.version
    with pytest.raises(Conflict):
        make_live(store, 4, known=known)


def test_a_file_of_older_software_has_all_before_it_as_history(store: EmbeddingStore, tmp_path: Path) -> None:
    (tmp_path / "live.json").write_text('{"version": 3}\n')
    assert (read_live(store).version, read_live(store).history) == (3, (2, 1))
    assert publish(store, 4).history == (3, 2, 1)


@pytest.mark.parametrize("text", ["", "3", "{}", '{"version": "3"}', '{"version": true}', '{"version": 0}', "\xff"])
def test_a_damaged_file_is_named(store: EmbeddingStore, tmp_path: Path, text: str) -> None:
    (tmp_path / "live.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidData, match=r"live\.json"):
        live_number(store)


@pytest.mark.parametrize("history", [None, 3, {}, [1, "2"], [True], [0]])
def test_a_damaged_history_is_named(store: EmbeddingStore, tmp_path: Path, history: Any) -> None:
    (tmp_path / "live.json").write_text(json.dumps({"version": 3, "history": history}))
    with pytest.raises(InvalidData, match=r"live\.json, field 'history"):
        read_live(store)


def test_a_missing_file_is_named(store: EmbeddingStore) -> None:
    with pytest.raises(InvalidData, match=r"live\.json: missing"):
        read_live(store)


def test_publishing_that_fails_leaves_the_old_version_live(
    store: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("refused")

    known = publish(store, 3)
    before = (tmp_path / "live.json").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", refuse)
        with pytest.raises(OSError, match="refused"):
            make_live(store, 11, known=known)
    assert (tmp_path / "live.json").read_bytes() == before
    make_live(store, 11, known=known)
    assert live_number(store) == 11


class TestRevisions:
    @staticmethod
    def revision(number: int, since: int = 0) -> Revision:
        return Revision(number=number, segments=(), created="2026-01-02T03:04:05+00:00", since=since)

    def test_they_are_read_back_and_stay_with_their_version(self, store: EmbeddingStore) -> None:
        live = publish_revision(store, self.revision(1), known=publish(store, 1))
        assert read_live(store) == live
        publish(store, 2)
        live = publish_revision(store, self.revision(4), known=read_live(store))
        assert {number: revision.number for number, revision in live.revisions.items()} == {1: 1, 2: 4}
        assert publish(store, 1).revision == self.revision(1)

    def test_one_on_top_of_something_else_is_not_published(self, store: EmbeddingStore) -> None:
        known = publish(store, 1)
        publish_revision(store, self.revision(1), known=known)
        with pytest.raises(Conflict):
            publish_revision(store, self.revision(1), known=known)

    def test_that_changes_were_dropped_is_never_forgotten(self, store: EmbeddingStore) -> None:
        live = publish_revision(store, self.revision(8, since=8), known=publish(store, 1))
        live = publish_revision(store, self.revision(9), known=live)
        assert live.revision == read_live(store).revision == self.revision(9, since=8)

    def test_an_update_is_made_again_on_top_of_what_others_published(
        self, store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(store, 1)
        swap, tries = LocalStorage.compare_and_swap, []

        def slow(storage: LocalStorage, name: str, data: bytes, *, expected: bytes | None) -> None:
            tries.append(name)
            if len(tries) == 1:
                swap(storage, name, Live(version=5, history=(1,), last=5).to_bytes(), expected=expected)
            swap(storage, name, data, expected=expected)

        monkeypatch.setattr(LocalStorage, "compare_and_swap", slow)
        assert update_live(store, lambda live: live.after(7)).history == (5, 1)
        assert len(tries) == 2

    def test_an_update_that_changes_nothing_writes_nothing(self, store: EmbeddingStore, tmp_path: Path) -> None:
        publish(store, 1)
        before = os.stat(tmp_path / "live.json").st_mtime_ns
        update_live(store, lambda live: live.with_revisions_of({1}))
        assert os.stat(tmp_path / "live.json").st_mtime_ns == before

    def test_others_that_are_always_faster_end_it(self, store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch) -> None:
        publish(store, 1)

        def refuse(*_: object, **__: object) -> None:
            raise Conflict("changed")

        monkeypatch.setattr(LocalStorage, "compare_and_swap", refuse)
        with pytest.raises(Conflict, match="keeps being changed by other processes; nothing was published"):
            update_live(store, lambda live: live.after(2))
