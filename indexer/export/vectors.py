"""A version's vectors for other engines: as Parquet, as a numpy array, or as the FAISS index itself.

Letters: M products, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from indexer.export.faiss_folder import write_index
from indexer.export.formats import ExportFormat
from indexer.export.manifest import write_manifest
from indexer.index.kinds import DISK
from indexer.revisions.revised_version import RevisedRows, open_revised_rows
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.table_schema import VECTOR, vectors_in
from indexer.versions.version import StoreVersion
from ubm_embed.data.arrays import FloatArray
from ubm_embed.errors import InvalidData
from ubm_embed.outputs import output_file, output_folder, require_free
from ubm_embed.progress import Progress, silent

VECTORS_FILE, PRODUCT_IDS_FILE = "vectors.npy", "product_ids.csv"
_NPY_TYPE = np.dtype("<f4")


@dataclass(frozen=True)
class VectorExport:
    """What was written.

    Attributes:
        label: of the version with its revision, such as `3.17`.
        products: how many vectors, M.
        dimension: their width, D.
    """

    label: str
    products: int
    dimension: int


def export_vectors(
    store: str | Path,
    out: str | Path,
    to: ExportFormat,
    *,
    version: int | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> VectorExport:
    """Write the vectors of a version and its last revision, all or nothing, in memory that hardly grows with them.

    A folder also gets the version's manifest, which says which model made the vectors, and when.

    Args:
        out: a file for Parquet, a folder for the others.
        to: any format but ONNX, which is for models.
        version: its number; None is the live one.

    Raises:
        NotFound: no such store or version.
        InvalidData: a part of the version is damaged or missing; or FAISS is requested and the index is LanceDB's, or
            cannot take up the revision.
        Conflict: `out` is taken and `overwrite` is false; or it is a folder and must be a file, or the reverse.
        ValueError: the format is ONNX.
    """
    if to is ExportFormat.ONNX:
        raise ValueError("vectors have no ONNX form: that is a format of models")
    require_free(out, overwrite=overwrite)
    opened = EmbeddingStore.open(store)
    live = open_revised_rows(opened, version)
    exported = VectorExport(live.revised.label, len(live), live.revised.version.dimension)
    if to is ExportFormat.FAISS:
        _require_faiss(live.revised.version)
    if to is ExportFormat.PARQUET:
        with output_file(out) as aside:
            _write_parquet(live, exported, aside, progress)
        return exported
    with output_folder(out, overwrite=overwrite) as aside:
        ids = _write_npy(live, exported, aside, progress) if to is ExportFormat.NPY else None
        _write_ids(write_index(opened, live.revised, aside) if ids is None else ids, aside)
        write_manifest(live.revised, len(live), aside)
    return exported


def _require_faiss(version: StoreVersion) -> None:
    if version.index_spec.kind is DISK:
        problem = f"the index of version {version.version} is LanceDB's, on disk: it is not one of FAISS's"
        raise InvalidData(f"{problem}; export to npy or parquet", field="to")


def _write_parquet(live: RevisedRows, exported: VectorExport, file: Path, progress: Progress) -> None:
    vector = pa.list_(pa.float32(), exported.dimension)
    schema = pa.schema([pa.field("product_id", pa.string(), nullable=False), pa.field(VECTOR, vector, nullable=False)])
    done = 0
    with pq.ParquetWriter(file, schema) as writer:
        for ids, vectors in _batches(live):
            columns = [ids.cast(pa.string()), pa.FixedSizeListArray.from_arrays(vectors.ravel(), exported.dimension)]
            writer.write_batch(pa.record_batch(columns, schema=schema))
            done += len(ids)
            progress("exporting vectors", done, exported.products)


def _write_npy(live: RevisedRows, exported: VectorExport, folder: Path, progress: Progress) -> pa.ChunkedArray:
    shape = (exported.products, exported.dimension)
    header = {"descr": np.lib.format.dtype_to_descr(_NPY_TYPE), "fortran_order": False, "shape": shape}
    done, written = 0, list[pa.Array]()
    # Batch by batch, and not through a memory map: there a full disk is a signal that ends the process.
    with (folder / VECTORS_FILE).open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for ids, vectors in _batches(live):
            stream.write(np.ascontiguousarray(vectors, _NPY_TYPE).data)
            written.append(ids)
            done += len(ids)
            progress("exporting vectors", done, exported.products)
    if done != exported.products:
        problem = f"{done:,} rows, but version {exported.label} has {exported.products:,}"
        raise InvalidData(problem, file=live.rows.store.table.uri)
    return pa.chunked_array(written)


def _batches(live: RevisedRows) -> Iterator[tuple[pa.Array, FloatArray]]:
    """Ids and vectors, some thousands at a time."""
    for batch in live.rows.batches(["product_id"], vectors=True):
        vectors = vectors_in(batch.column(VECTOR), live.revised.version.dimension)
        yield batch.column("product_id"), vectors


def _write_ids(ids: pa.ChunkedArray, folder: Path) -> None:
    pl.DataFrame({"product_id": pl.Series(ids)}).write_csv(folder / PRODUCT_IDS_FILE)
