"""Exported vectors are those of the store, row by row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import polars as pl
import pytest

from indexer.export.formats import ExportFormat
from indexer.export.vectors import PRODUCT_IDS_FILE, VECTORS_FILE, export_vectors
from indexer.index.index_request import IndexRequest
from indexer.index.vector_index import INDEX_FILE
from indexer.refresh.refresh import build_index
from indexer.refresh.settings import RefreshSettings
from indexer.revisions import version_rows
from indexer.search.retriever import Retriever
from indexer.store.embedding_store import EmbeddingStore
from indexer.updates.updater import Updater
from indexer.versions.live import read_live
from ubm_embed.errors import Conflict, InvalidData, NotFound

FOLDERS = [ExportFormat.NPY, ExportFormat.FAISS]


@pytest.fixture
def stored(store: Path) -> dict[str, np.ndarray]:
    """Each product's vector by its id."""
    return {
        name: vector
        for ids, vectors in EmbeddingStore.open(store).table.batches(1)
        for name, vector in zip(ids, vectors, strict=True)
    }


def ids_of(folder: Path) -> list[str]:
    return pl.read_csv(folder / PRODUCT_IDS_FILE, infer_schema=False)["product_id"].to_list()


def test_parquet_has_ids_and_vectors(store: Path, tmp_path: Path, stored: dict[str, np.ndarray]) -> None:
    export_vectors(store, tmp_path / "vectors.parquet", ExportFormat.PARQUET)
    rows = pl.read_parquet(tmp_path / "vectors.parquet")
    assert rows["product_id"].to_list() == list(stored)
    assert (rows["vector"].to_numpy() == np.stack(list(stored.values()))).all()


def test_npy_has_a_row_for_each_id(store: Path, tmp_path: Path, stored: dict[str, np.ndarray]) -> None:
    export_vectors(store, tmp_path / "out", ExportFormat.NPY)
    vectors = np.load(tmp_path / "out" / VECTORS_FILE)
    assert (vectors.dtype, vectors.shape) == (np.float32, (8, 16))
    assert ids_of(tmp_path / "out") == list(stored)
    assert (vectors == np.stack(list(stored.values()))).all()
    assert (tmp_path / "out" / "manifest.json").is_file()


def test_faiss_opens_the_index(store: Path, tmp_path: Path, stored: dict[str, np.ndarray]) -> None:
    export_vectors(store, tmp_path / "out", ExportFormat.FAISS, version=1)
    index, ids = faiss.read_index(str(tmp_path / "out" / INDEX_FILE)), ids_of(tmp_path / "out")
    assert index.ntotal == 8
    for name, vector in stored.items():
        _, positions = index.search(vector[None], 1)
        assert ids[positions[0, 0]] == name


@pytest.mark.parametrize("to", [ExportFormat.PARQUET, *FOLDERS])
def test_an_existing_output_is_kept_unless_it_may_be_overwritten(store: Path, tmp_path: Path, to: ExportFormat) -> None:
    out = tmp_path / "out"
    out.mkdir() if to in FOLDERS else out.write_text("mine")
    if to in FOLDERS:
        (out / "mine").touch()
    with pytest.raises(Conflict, match="--overwrite"):
        export_vectors(store, out, to)
    export_vectors(store, out, to, overwrite=True)
    assert not (out / "mine").exists()


def test_a_damaged_index_is_not_exported(store: Path, tmp_path: Path) -> None:
    file = store / "versions" / "1" / INDEX_FILE
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(InvalidData, match="truncated"):
        export_vectors(store, tmp_path / "out", ExportFormat.FAISS)
    assert not (tmp_path / "out").exists()


def test_an_unknown_version_is_not_found(store: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no version 7"):
        export_vectors(store, tmp_path / "out", ExportFormat.NPY, version=7)


def test_the_format_of_models_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a format of models"):
        export_vectors(store, tmp_path / "out", ExportFormat.ONNX)


class TestRevisions:
    @pytest.fixture
    def revised(self, store: Path) -> Path:
        """Version 1.2: p9 is new, p2 has another title, p4 another price, and p8 is deleted."""
        with Updater(store) as updater:
            updater.upsert(
                [
                    {"product_id": "p9", "title": "green hat"},
                    {"product_id": "p2", "title": "blue sandals"},
                    {"product_id": "p4", "price": 99.0},
                ]
            )
            updater.delete(["p8"])
        return store

    @pytest.fixture
    def current(self, revised: Path) -> dict[str, np.ndarray]:
        """Each product's vector by its id, as answers have it."""
        retriever = Retriever.open(revised, device="cpu")
        positions = retriever.catalogue.find([f"p{number}" for number in range(1, 10)])
        vectors = retriever.index.vectors(np.array([*positions.values()]))
        return dict(zip(positions, vectors, strict=True))

    @pytest.mark.parametrize("to", [ExportFormat.PARQUET, *FOLDERS])
    def test_what_is_exported_is_what_answers(
        self, revised: Path, tmp_path: Path, current: dict[str, np.ndarray], to: ExportFormat
    ) -> None:
        exported = export_vectors(revised, tmp_path / "out", to)
        assert (exported.label, exported.products) == ("1.2", 8)
        vectors = exported_vectors(tmp_path / "out", to)
        assert vectors.keys() == current.keys() == {f"p{number}" for number in (1, 2, 3, 4, 5, 6, 7, 9)}
        for name, vector in vectors.items():
            assert vector == pytest.approx(current[name], abs=1e-6)
        if to in FOLDERS:
            manifest = json.loads((tmp_path / "out/manifest.json").read_text())
            assert (manifest["version"], manifest["revision"], manifest["products"]) == (1, 2, 8)

    def test_an_index_to_which_nothing_can_be_added_is_refused(
        self, tmp_path: Path, model_folder: Path, products_file: Path
    ) -> None:
        settings = RefreshSettings(index=IndexRequest(index="hnsw"))
        build_index(model=model_folder, products=products_file, store=tmp_path / "store", settings=settings)
        with Updater(tmp_path / "store") as updater:
            updater.delete(["p8"])
        with pytest.raises(InvalidData, match=r"of kind 'hnsw', cannot take up revision 1\.1; export to npy"):
            export_vectors(tmp_path / "store", tmp_path / "out", ExportFormat.FAISS)
        assert not (tmp_path / "out").exists()

    def test_a_segment_that_is_merged_meanwhile_is_not_missed(
        self, revised: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read, opened = version_rows.read_rows, []

        def upsert_before(*arguments: Any, **options: Any) -> Any:
            if not opened:
                opened.append(True)
                with Updater(revised) as updater:
                    updater.delete(["p1"])
                for segment in EmbeddingStore.open(revised).storage.list("revisions/1"):
                    if segment not in {name.name for name in read_live(EmbeddingStore.open(revised)).revision.segments}:
                        (revised / "revisions/1" / segment).unlink()
            return read(*arguments, **options)

        monkeypatch.setattr(version_rows, "read_rows", upsert_before)
        assert export_vectors(revised, tmp_path / "out", ExportFormat.NPY).label == "1.3"

    def test_a_lost_segment_is_named(self, revised: Path, tmp_path: Path) -> None:
        for file in (revised / "revisions/1").iterdir():
            file.unlink()
        with pytest.raises(InvalidData, match=r"revisions/1/1-\w+\.arrow: missing"):
            export_vectors(revised, tmp_path / "out", ExportFormat.NPY)
        assert not (tmp_path / "out").exists()


def exported_vectors(out: Path, to: ExportFormat) -> dict[str, np.ndarray]:
    if to is ExportFormat.PARQUET:
        rows = pl.read_parquet(out)
        return dict(zip(rows["product_id"], rows["vector"].to_numpy(), strict=True))
    if to is ExportFormat.NPY:
        vectors = np.load(out / VECTORS_FILE)
    else:
        index = faiss.read_index(str(out / INDEX_FILE))
        vectors = index.reconstruct_n(0, index.ntotal)
    return dict(zip(ids_of(out), vectors, strict=True))
