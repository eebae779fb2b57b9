"""One small file says what answers, what did before, and changes in one step."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.live import Live, live_number, make_live, read_live
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
