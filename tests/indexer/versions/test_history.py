"""The versions of a store as a person sees them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.history import HistoryEntry, history, history_entry
from indexer.versions.rollback import roll_back
from indexer.versions.tags import add_tag
from tests.indexer.versions.published import revise
from ubm_embed.errors import InvalidData, NotFound


@pytest.fixture
def opened(nights: Path) -> EmbeddingStore:
    return EmbeddingStore.open(nights)


def states(store: EmbeddingStore) -> dict[int, str]:
    return {entry.version: entry.state for entry in history(store)}


def test_the_newest_comes_first(opened: EmbeddingStore) -> None:
    assert [entry.version for entry in history(opened)] == [3, 2, 1]


def test_which_is_live_and_which_were_before(opened: EmbeddingStore) -> None:
    assert states(opened) == {3: "live", 2: "before", 1: "before"}


def test_a_version_that_was_rolled_back_is_withdrawn(opened: EmbeddingStore) -> None:
    roll_back(opened)
    assert states(opened) == {3: "withdrawn", 2: "live", 1: "before"}


def test_a_version_that_was_never_published_is_withdrawn(nights: Path, opened: EmbeddingStore) -> None:
    shutil.copytree(nights / "versions/3", nights / "versions/4")
    file = nights / "versions/4/manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"version": 4}))
    assert states(opened) == {4: "withdrawn", 3: "live", 2: "before", 1: "before"}


def test_tags_belong_to_their_version(opened: EmbeddingStore) -> None:
    for name, number in (("spring", 2), ("black-friday", 2), ("first", 1)):
        add_tag(opened, name, number)
    assert {entry.version: entry.tags for entry in history(opened)} == {
        3: (),
        2: ("black-friday", "spring"),
        1: ("first",),
    }


def test_a_damaged_version_is_listed_with_its_problem(nights: Path, opened: EmbeddingStore) -> None:
    (nights / "versions/2/manifest.json").write_text("{")
    problems = {entry.version: entry.problem for entry in history(opened)}
    assert (problems[3], problems[1]) == (None, None)
    assert str(nights / "versions/2/manifest.json") in str(problems[2])
    document = history_entry(opened, 2).to_dict()
    assert (document["version"], document["state"]) == (2, "before")
    assert "not JSON" in document["problem"]
    assert "products" not in document


def test_an_entry_as_json_has_the_manifest(nights: Path, opened: EmbeddingStore) -> None:
    document = json.loads(json.dumps(history_entry(opened, 3).to_dict()))
    manifest = json.loads((nights / "versions/3/manifest.json").read_text())
    assert {name: document[name] for name in manifest} == manifest
    assert document["bytes"] == sum(file.stat().st_size for file in (nights / "versions/3").iterdir())
    assert "problem" not in document


def test_a_revision_has_its_label_and_size(nights: Path, opened: EmbeddingStore) -> None:
    revision = revise(opened, 5, 2)
    roll_back(opened)
    entries = {entry.version: entry for entry in history(opened)}
    assert [entries[number].label for number in (3, 2)] == ["3.1", "2"]
    document = json.loads(json.dumps(entries[3].to_dict()))
    assert document["revision"] == {"number": 1, "rows": 7, "bytes": 21, "created": revision.created}
    assert entries[2].to_dict()["revision"] is None
    assert document["bytes"] == sum(file.stat().st_size for file in (nights / "versions/3").iterdir())


def test_a_missing_version(opened: EmbeddingStore) -> None:
    with pytest.raises(NotFound, match="no version 9"):
        history_entry(opened, 9)


@pytest.mark.parametrize("name", ["live.json", "tags.json"])
def test_a_damaged_file_is_named(nights: Path, opened: EmbeddingStore, name: str) -> None:
    (nights / name).write_text("garbage")
    with pytest.raises(InvalidData, match=rf"{name}: not JSON"):
        history(opened)


def test_an_entry_without_a_manifest() -> None:
    assert HistoryEntry(1, "live", (), 0, None, None, "gone").to_dict() == {
        "version": 1,
        "label": "1",
        "state": "live",
        "tags": [],
        "revision": None,
        "bytes": 0,
        "problem": "gone",
    }
