"""A version's vectors for other engines: as Parquet, as a numpy array, or as the FAISS index itself.

Letters: M products, D width.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from indexer.catalogue.version_catalogue import open_catalogue
from indexer.export.formats import ExportFormat
from indexer.index.kinds import DISK
from indexer.index.vector_index import INDEX_FILE
from indexer.store.embedding_store import EmbeddingStore, version_folder
from indexer.store.table_schema import VECTOR
from indexer.versions.version import StoreVersion, read_version, require_digests
from ubm_embed.errors import InvalidData
from ubm_embed.outputs import output_file, output_folder, require_free
from ubm_embed.progress import Progress, silent

VECTORS_FILE, PRODUCT_IDS_FILE = "vectors.npy", "product_ids.csv"
_NPY_TYPE = np.dtype("<f4")


def export_vectors(
    store: str | Path,
    out: str | Path,
    to: ExportFormat,
    *,
    version: int | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> StoreVersion:
    """Write a version's vectors, all or nothing, in memory that does not grow with them.

    A folder also gets the version's manifest, which says which model made the vectors, and when.

    Args:
        out: a file for Parquet, a folder for the others.
        to: any format but ONNX, which is for models.
        version: its number; None is the live one.

    Raises:
        NotFound: no such store or version.
        InvalidData: a part of the version is damaged or missing; or FAISS is requested and the index is LanceDB's.
        Conflict: `out` is taken and `overwrite` is false; or it is a folder and must be a file, or the reverse.
        ValueError: the format is ONNX.
    """
    if to is ExportFormat.ONNX:
        raise ValueError("vectors have no ONNX form: that is a format of models")
    require_free(out, overwrite=overwrite)
    opened = EmbeddingStore.open(store)
    manifest = read_version(opened, version)
    if to is ExportFormat.FAISS and manifest.index_spec.kind is DISK:
        problem = f"the index of version {manifest.version} is LanceDB's, on disk: it is not one of FAISS's"
        raise InvalidData(f"{problem}; export to npy or parquet", field="to")
    if to is ExportFormat.PARQUET:
        with output_file(out) as aside:
            _write_parquet(opened, manifest, aside, progress)
        return manifest
    with output_folder(out, overwrite=overwrite) as aside:
        if to is ExportFormat.NPY:
            _write_npy(opened, manifest, aside, progress)
        else:
            _write_faiss(opened, manifest, aside)
        manifest.write(aside)
    return manifest


def _write_parquet(store: EmbeddingStore, version: StoreVersion, file: Path, progress: Progress) -> None:
    vector = pa.list_(pa.float32(), version.dimension)
    schema = pa.schema([pa.field("product_id", pa.string(), nullable=False), pa.field(VECTOR, vector, nullable=False)])
    done = 0
    with pq.ParquetWriter(file, schema) as writer:
        for ids, vectors in store.table.batches(version.table_version):
            columns = [
                pa.array(ids.to_list(), pa.string()),
                pa.FixedSizeListArray.from_arrays(vectors.ravel(), version.dimension),
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))
            done += ids.len()
            progress("exporting vectors", done, version.products)


def _write_npy(store: EmbeddingStore, version: StoreVersion, folder: Path, progress: Progress) -> None:
    shape = (version.products, version.dimension)
    header = {"descr": np.lib.format.dtype_to_descr(_NPY_TYPE), "fortran_order": False, "shape": shape}
    done, ids = 0, []
    # Batch by batch, and not through a memory map: there a full disk is a signal that ends the process.
    with (folder / VECTORS_FILE).open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for product_ids, vectors in store.table.batches(version.table_version):
            stream.write(np.ascontiguousarray(vectors, _NPY_TYPE).data)
            ids.append(product_ids)
            done += len(vectors)
            progress("exporting vectors", done, version.products)
    if done != version.products:
        raise InvalidData(f"{done:,} rows, but the manifest says {version.products:,}", file=store.table.uri)
    _write_ids(pl.concat(ids), folder)


def _write_faiss(store: EmbeddingStore, version: StoreVersion, folder: Path) -> None:
    with store.storage.open_folder(version_folder(version.version)) as source:
        require_digests(version, source)
        shutil.copyfile(source / INDEX_FILE, folder / INDEX_FILE)
        ids = open_catalogue(store, version, source).table(["product_id"])
        _write_ids(pl.Series("product_id", ids["product_id"]), folder)


def _write_ids(ids: pl.Series, folder: Path) -> None:
    ids.to_frame("product_id").write_csv(folder / PRODUCT_IDS_FILE)
