"""A version's products are opened from its files; of an older version, from the table."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from indexer.catalogue import mapped_catalogue
from indexer.catalogue.mapped_catalogue import CATALOGUE_FILES, MappedCatalogue
from indexer.catalogue.version_catalogue import IDS_FILE, open_catalogue
from indexer.health.doctor import examine
from indexer.health.repair import rebuild
from indexer.search.retriever import Retriever
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.table_schema import table_schema
from indexer.versions.version import LAYOUT, read_version
from tests.indexer.catalogue.older_version import as_layout_1
from ubm_embed.data.session import Action, Interaction, Session
from ubm_embed.errors import InvalidData

SESSION = Session((Interaction(Action.VIEW, product_id="p1"), Interaction(Action.SEARCH, query="red")))


def opened(store: Path) -> MappedCatalogue:
    here = EmbeddingStore.open(store)
    return open_catalogue(here, read_version(here, 1), store / "versions" / "1")


def test_an_older_version_answers_as_before(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, popular = Retriever.open(store).recommend(SESSION).matches, opened(store).popular.tolist()
    as_layout_1(store)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    retriever = Retriever.open(store)
    assert retriever.version.layout == 1
    assert retriever.recommend(SESSION).matches == before
    assert opened(store).popular.tolist() == popular
    assert not list((tmp_path / "temporary").iterdir()), "what was derived is removed once it is mapped"
    assert examine(store) == []


def test_a_full_disk_under_an_older_version_is_named(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "Error writing bytes to file")

    as_layout_1(store)
    monkeypatch.setattr(mapped_catalogue, "write_catalogue", full)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}'") as caught:
        opened(store)
    assert "TMPDIR" in caught.value.__notes__[0]


def test_a_rebuilt_older_version_has_the_files_of_a_new_one(store: Path) -> None:
    before = Retriever.open(store).recommend(SESSION).matches
    folder, here = as_layout_1(store), EmbeddingStore.open(store)
    with here.write_lock():
        rebuild(here, 1)
    assert read_version(here).layout == LAYOUT
    assert {file.name for file in folder.iterdir()} >= set(CATALOGUE_FILES)
    assert Retriever.open(store).recommend(SESSION).matches == before


def test_rows_in_another_order_than_an_older_index_still_meet_their_vectors(store: Path) -> None:
    before, here = Retriever.open(store).recommend(SESSION).matches, EmbeddingStore.open(store)
    table, version = here.table, read_version(here, 1)
    frame, vectors = table.read(version.table_version), table.vectors(version.table_version, np.arange(8))
    fragments = table.write_fragments(frame.reverse(), vectors[::-1].copy(), overwrite=True)
    moved = table.replace(fragments, table_schema(frame, vectors.shape[1]), model_id=version.model_id)
    as_layout_1(store, table_version=moved)
    assert Retriever.open(store).recommend(SESSION).matches == before


@pytest.mark.parametrize(
    ("ids", "problem"),
    [
        ([f"q{row}" for row in range(8)], "8 ids, of which the table's 8 products have 0"),
        (["p1"], "1 ids, but the manifest says 8"),
    ],
)
def test_ids_of_other_products_in_an_older_version_are_refused(store: Path, ids: list[str], problem: str) -> None:
    folder = as_layout_1(store)
    pl.DataFrame({"product_id": ids}).write_parquet(folder / IDS_FILE)
    with pytest.raises(InvalidData, match=problem) as caught:
        opened(store)
    assert caught.value.file == folder / IDS_FILE


def test_damaged_ids_of_an_older_version_are_named(store: Path) -> None:
    folder = as_layout_1(store)
    content = (folder / IDS_FILE).read_bytes()
    for damaged in (b"", content[:-9]):
        (folder / IDS_FILE).write_bytes(damaged)
        with pytest.raises(InvalidData, match=r"ids\.parquet: missing or damaged"):
            opened(store)


def test_a_version_whose_index_is_cut_while_it_is_in_use_is_noticed(store: Path) -> None:
    catalogue, index = opened(store), store / "versions" / "1" / "index.faiss"
    content = index.read_bytes()
    index.unlink()
    index.write_bytes(content)  # another file of this name
    catalogue.require_unchanged()
    catalogue = opened(store)
    with index.open("r+b") as stream:
        stream.truncate(7)
    with pytest.raises(InvalidData, match=r"index\.faiss: changed while it was in use: 7 bytes"):
        catalogue.require_unchanged()
