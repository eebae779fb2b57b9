"""Exported vectors are those of the store, row by row."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import polars as pl
import pytest

from indexer.export.formats import ExportFormat
from indexer.export.vectors import PRODUCT_IDS_FILE, VECTORS_FILE, export_vectors
from indexer.index.vector_index import INDEX_FILE
from indexer.store.embedding_store import EmbeddingStore
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
