"""All products of a version with its revision: as refreshes compare them and exports write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from indexer.catalogue.catalogue_writer import (
    POPULAR_FILE,
    POPULARITY_FILE,
    ROW_HASHES_FILE,
    TEXT_HASHES_FILE,
)
from indexer.revisions.compaction import add_rows
from indexer.revisions.segment import segment_schema, write_patch
from indexer.revisions.version_rows import VersionRows
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.live import make_live, publish_revision, read_live
from indexer.versions.revision import Revision, segment_path
from indexer.versions.version import PATCH_FILE, digests, read_version
from tests.indexer.catalogue.older_version import as_layout_1
from ubm_embed.errors import InvalidData

Opened = tuple[EmbeddingStore, VersionRows]


def opened(folder: Path, number: int = 1, revision: Revision | None = None) -> VersionRows:
    store = EmbeddingStore.open(folder)
    return VersionRows.open(store, read_version(store, number), revision)


def as_layout_2(folder: Path) -> None:
    """The version as the software before wrote it: hashes and popularity are in the table only."""
    version = folder / "versions" / "1"
    for name in (TEXT_HASHES_FILE, ROW_HASHES_FILE, POPULARITY_FILE):
        (version / name).unlink()
    _rewrite_manifest(version, layout=2)


def _rewrite_manifest(folder: Path, **fields: Any) -> None:
    manifest = json.loads((folder / "manifest.json").read_text()) | fields
    manifest["files"] = {name: digest.model_dump() for name, digest in digests(folder).items()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def change(rows: VersionRows, product_id: str, number: int, vector: list[float] | None = None, **columns: Any) -> dict:  # type: ignore[type-arg]
    """A product's row in a segment, with other columns; a vector goes with another text."""
    known = {row["product_id"]: row for batch in rows.batches() for row in batch.to_pylist()}
    row = {**known.get(product_id, {"title": "new", "attributes": []}), **columns, "product_id": product_id}
    row.pop("popularity", None)
    position = int(rows.find(pa.array([product_id]))[0])
    text_hash = bytes([number] * 16) if vector is not None else rows.text_hashes[position].tobytes()
    return {**row, **_own(number), "vector": vector, "text_hash": text_hash, "row_hash": number, "_row_deleted": False}


def deletion(product_id: str, number: int) -> dict[str, Any]:
    return {"product_id": product_id, "_row_deleted": True, **_own(number)}


def _own(number: int) -> dict[str, Any]:
    return {"_row_revision": number, "_row_time": datetime(2026, 1, 1, tzinfo=UTC)}


def revise(folder: Path, changes: Callable[[VersionRows], list[dict[str, Any]]]) -> Revision:
    """Publish a revision of version 1."""
    store, rows = EmbeddingStore.open(folder), opened(folder)
    schema = segment_schema(rows.schema, rows.version.dimension)
    revision = add_rows(store, 1, None, pa.Table.from_pylist(changes(rows), schema), "2026-01-01")
    publish_revision(store, revision, known=read_live(store))
    return revision


def four_changes(rows: VersionRows) -> list[dict[str, Any]]:
    unit = np.eye(rows.version.dimension, dtype=np.float32)
    return [
        change(rows, "p1", 1, price=99.0),
        change(rows, "p3", 1, vector=unit[0].tolist(), title="other"),
        deletion("p5", 1),
        change(rows, "new", 1, vector=unit[1].tolist(), title="new", price=1.0),
    ]


@pytest.mark.parametrize("layout", [1, 2, 3])
def test_they_are_those_of_the_table(store: Path, layout: int) -> None:
    table, version = EmbeddingStore.open(store).table, read_version(EmbeddingStore.open(store))
    expected = table.read(version.table_version)
    hashes = table.read(version.table_version, ["text_hash", "row_hash"])
    vectors = np.concatenate([batch.vectors for batch in table.batches(version.table_version)])
    {1: as_layout_1, 2: as_layout_2, 3: lambda _: None}[layout](store)
    rows = opened(store)
    assert (rows.overlay.number, len(rows), rows.alive.all()) == (0, 8, True)
    read = pa.Table.from_batches(rows.batches(vectors=True))
    np.testing.assert_array_equal(np.stack(read["vector"].to_pylist()), vectors)
    assert read.drop_columns(["vector"]).to_pylist() == expected.to_dicts()
    assert [digest.tobytes() for digest in rows.text_hashes] == hashes["text_hash"].to_list()
    assert rows.row_hashes.tolist() == hashes["row_hash"].to_list()
    assert rows.popularity.tolist() == expected["popularity"].to_list()
    assert rows.find(pa.array(["p8", "nobody", "p1"])).tolist() == [7, -1, 0]


@pytest.mark.parametrize("layout", [1, 2, 3])
def test_they_are_those_under_a_revision(store: Path, layout: int) -> None:
    {1: as_layout_1, 2: as_layout_2, 3: lambda _: None}[layout](store)
    before = opened(store)
    vectors = [row for batch in before.batches(["product_id"], vectors=True) for row in batch["vector"].to_pylist()]
    rows = opened(store, 1, revise(store, four_changes))
    assert (rows.overlay.number, len(rows), rows.alive.sum()) == (1, 10, 8)
    read = [row for batch in rows.batches(vectors=True) for row in batch.to_pylist()]
    assert [row["product_id"] for row in read] == ["p1", "p2", "p4", "p6", "p7", "p8", "p3", "new"]
    assert [row["title"] for row in read[-2:]] == ["other", "new"]
    assert (read[0]["price"], read[-1]["price"]) == (99.0, 1.0)
    assert [row["popularity"] for row in read] == [0, 1, 0, 0, 0, 0, 3, 0]
    assert [row["vector"] for row in read[:6]] == [vectors[row] for row in (0, 1, 3, 5, 6, 7)]
    assert [np.argmax(row["vector"]) for row in read[6:]] == [0, 1]
    assert rows.find(pa.array(["p1", "p3", "p5", "new", "nobody"])).tolist() == [0, 8, -1, 9, -1]
    assert rows.row_hashes[[0, 8, 9]].tolist() == [1, 1, 1]
    assert rows.row_hashes[[1, 2]].tolist() == before.row_hashes[[1, 2]].tolist()
    assert rows.text_hashes[0] == before.text_hashes[0]
    assert rows.text_hashes[9].tobytes() == bytes([1] * 16)
    assert rows.popularity[rows.alive].tolist() == [row["popularity"] for row in read]
    prices = [price for batch in rows.batches(["price"]) for price in batch["price"].to_pylist()]
    assert prices == [99.0, 1.0, 3.0, 5.0, 6.0, 7.0, 2.0, 1.0]


def shared(folder: Path) -> None:
    """Version 2, which shares the files of version 1: p2 has another price, and only p7 was ever chosen."""
    store, rows, version = EmbeddingStore.open(folder), opened(folder), folder / "versions" / "2"
    version.mkdir()
    schema = segment_schema(rows.schema, rows.version.dimension)
    write_patch(version / PATCH_FILE, pa.Table.from_pylist([change(rows, "p2", 0, price=50.0)], schema))
    np.save(version / POPULAR_FILE, np.array([6], "<i8"))
    np.save(version / POPULARITY_FILE, np.array([0, 0, 0, 0, 0, 0, 4, 0], "<i8"))
    (version / "manifest.json").write_bytes((folder / "versions" / "1" / "manifest.json").read_bytes())
    _rewrite_manifest(version, version=2, shares_files_of=1)
    make_live(store, 2, known=read_live(store))


def test_they_are_those_of_a_version_that_shares_files(store: Path) -> None:
    before = opened(store)
    shared(store)
    rows = opened(store, 2)
    assert (rows.overlay.number, len(rows), rows.alive.all()) == (0, 8, True)
    read = [row for batch in rows.batches() for row in batch.to_pylist()]
    assert [row["price"] for row in read] == [0.0, 50.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    assert [row["popularity"] for row in read] == rows.popularity.tolist() == [0, 0, 0, 0, 0, 0, 4, 0]
    assert (rows.text_hashes == before.text_hashes).all()
    assert (rows.row_hashes != before.row_hashes).tolist() == [row == 1 for row in range(8)]
    assert opened(store, 1).popularity.tolist() == before.popularity.tolist()


def test_a_damaged_index_keeps_nobody_from_reading_them(store: Path) -> None:
    (store / "versions" / "1" / "index.faiss").unlink()
    assert len(opened(store)) == 8


def test_a_lost_segment_is_named(store: Path) -> None:
    revision = revise(store, four_changes)
    (store / segment_path(1, revision.segments[0].name)).unlink()
    with pytest.raises(InvalidData, match="missing; the store is damaged"):
        opened(store, 1, revision)


def test_without_a_revision_the_files_are_mapped(store: Path) -> None:
    """So that memory does not grow with the products."""
    rows = opened(store)
    for array in (rows.text_hashes, rows.row_hashes):
        while isinstance(array.base, np.ndarray) and not isinstance(array, np.memmap):
            array = array.base
        assert not array.flags.owndata
