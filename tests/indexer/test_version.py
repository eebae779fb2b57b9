"""A manifest describes a version, and contradictions are refused."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from indexer.store import EmbeddingStore
from indexer.version import (
    MANIFEST_FILE,
    StoreVersion,
    live_number,
    make_live,
    next_number,
    read_version,
    version_numbers,
)
from ubm_embed.errors import InvalidData, NotFound

VERSION = StoreVersion(
    version=3,
    table_version=7,
    model_id="0123456789abcdef",
    dimension=16,
    kind="flat",
    metric="inner_product",
    products=8,
    indexed=8,
    recall_at_10=1.0,
    created="2026-01-02T03:04:05+00:00",
    software="0.1.0",
    source="products.parquet",
)


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    """Versions 2, 3 and 11, of which 3 is live."""
    store = EmbeddingStore(tmp_path)
    for number in (2, 3, 11):
        store.version_folder(number).mkdir(parents=True)
        replace(VERSION, version=number).write(store.version_folder(number))
    make_live(store, VERSION)
    return store


def test_a_manifest_reads_as_written(store: EmbeddingStore) -> None:
    assert StoreVersion.read(store.version_folder(3)) == VERSION


def test_the_live_version_is_read_unless_another_is_named(store: EmbeddingStore) -> None:
    assert read_version(store) == VERSION
    assert read_version(store, 2).version == 2


def test_an_unknown_version_is_answered_with_those_there_are(store: EmbeddingStore) -> None:
    with pytest.raises(NotFound, match=r"no version 5 in .*; there is: 2, 3, 11"):
        read_version(store, 5)


def test_numbers_are_in_order_and_partial_folders_are_none(store: EmbeddingStore) -> None:
    (store.folder / "versions" / ".12.aa.partial").mkdir()
    (store.folder / "versions" / "notes").mkdir()
    assert version_numbers(store) == [2, 3, 11]


def test_the_next_number_is_beyond_every_one_that_was(store: EmbeddingStore, tmp_path: Path) -> None:
    assert next_number(store) == 12
    assert next_number(EmbeddingStore(tmp_path / "new")) == 1
    make_live(store, replace(VERSION, version=40))  # its folder is gone
    assert next_number(store) == 41


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"version": None}, "version"),
        ({"version": True}, "version"),
        ({"version": 3.0}, "version"),
        ({"version": 4}, "version"),  # stands in folder 3
        ({"model_id": 7}, "model_id"),
        ({"created": None}, "created"),
        ({"recall_at_10": "1"}, "recall_at_10"),
        ({"shards": 4}, "shards"),
        ({"kind": ...}, "kind"),
    ],
)
def test_a_field_that_is_wrong_is_named(store: EmbeddingStore, change: dict[str, Any], field: str) -> None:
    file = store.version_folder(3) / MANIFEST_FILE
    document = json.loads(file.read_text()) | change
    file.write_text(json.dumps({name: value for name, value in document.items() if value is not ...}))
    with pytest.raises(InvalidData) as caught:
        read_version(store, 3)
    assert (caught.value.file, caught.value.field) == (file, field)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"kind": "hnsw"}, "kind must be one of flat"),
        ({"metric": "l2"}, "metric must be"),
        ({"indexed": 7}, "7 of 8 products are indexed"),
        ({"products": 0, "indexed": 0}, "products must be at least 1"),
        ({"dimension": -1}, "dimension must be at least 1"),
        ({"recall_at_10": 1.5}, "recall_at_10"),
        ({"recall_at_10": float("nan")}, "recall_at_10"),
        ({"model_id": "../../elsewhere"}, "model_id"),
        ({"model_id": ""}, "model_id"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    store: EmbeddingStore, change: dict[str, Any], problem: str
) -> None:
    file = store.version_folder(3) / MANIFEST_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(InvalidData, match=problem):
        read_version(store)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 3'])
def test_a_damaged_manifest_is_named(store: EmbeddingStore, text: str) -> None:
    (store.version_folder(3) / MANIFEST_FILE).write_text(text)
    with pytest.raises(InvalidData, match=r"versions/3/manifest\.json"):
        read_version(store)


def test_a_missing_manifest_is_named(store: EmbeddingStore) -> None:
    (store.version_folder(3) / MANIFEST_FILE).unlink()
    with pytest.raises(InvalidData, match=r"versions/3/manifest\.json: missing"):
        read_version(store)


@pytest.mark.parametrize("text", ["", "3", "{}", '{"version": "3"}', '{"version": true}', '{"version": 0}'])
def test_a_damaged_live_file_is_named(store: EmbeddingStore, text: str) -> None:
    (store.folder / "live.json").write_text(text)
    with pytest.raises(InvalidData, match=r"live\.json"):
        live_number(store)


def test_publishing_that_fails_leaves_the_old_version_live(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("refused")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="refused"):
        make_live(store, replace(VERSION, version=11))
    assert live_number(store) == 3
