"""A version's FAISS index for other engines, with what was upserted and deleted since it was built.

Letters: M products of the version's files, N positions appended, K products, D width.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa

from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.catalogue.version_catalogue import open_catalogue
from indexer.index.kept_lists import keep_up
from indexer.index.vector_index import INDEX_FILE
from indexer.revisions.overlay import Overlay
from indexer.revisions.revised_catalogue import RevisedCatalogue
from indexer.revisions.revised_version import RevisedVersion
from indexer.revisions.segment import read_rows, segment_schema
from indexer.store.embedding_store import EmbeddingStore, version_folder
from indexer.versions.rollback import shared_base
from indexer.versions.version import require_digests
from indexer.versions.version_index import open_index
from ubm_embed.data.arrays import IntArray
from ubm_embed.errors import InvalidData


def write_index(store: EmbeddingStore, revised: RevisedVersion, folder: Path) -> pa.ChunkedArray:
    """Write the index, and return the id of each of its rows: [K].

    Raises:
        InvalidData: a file is damaged; or the index is of a kind to which nothing can be added.
    """
    base = shared_base(store, revised.version)
    with store.storage.open_folder(version_folder(base.version)) as source:
        require_digests(base, source)
        catalogue = open_catalogue(store, base, source)
        overlay = _overlay(store, revised, catalogue)
        if overlay.visible is None:
            shutil.copyfile(source / INDEX_FILE, folder / INDEX_FILE)
            alive = np.arange(len(catalogue))
        else:
            alive = np.flatnonzero(overlay.visible.mask)
            _write_revised(store, RevisedVersion(base, revised.revision), overlay, alive, source, folder)
        return _ids(catalogue, overlay, alive)


def _ids(catalogue: MappedCatalogue, overlay: Overlay, alive: IntArray) -> pa.ChunkedArray:
    kept, appended = np.split(alive, [np.searchsorted(alive, overlay.base_count)])
    ids = catalogue.table(["product_id"])["product_id"].take(pa.array(kept))
    added = pa.array(RevisedCatalogue(catalogue, overlay).values("product_id", appended), ids.type)
    return pa.chunked_array([*ids.chunks, added], ids.type)


def _overlay(store: EmbeddingStore, revised: RevisedVersion, catalogue: MappedCatalogue) -> Overlay:
    width, number = revised.version.dimension, revised.version.version
    rows = read_rows(store, number, revised.revision, segment_schema(catalogue.schema, width))
    return Overlay.of_base(catalogue, width).advanced(rows)


def _write_revised(
    store: EmbeddingStore, revised: RevisedVersion, overlay: Overlay, alive: IntArray, source: Path, folder: Path
) -> None:
    """Write an index over the positions that have a product: [K]."""
    version = revised.version
    index = open_index(store.table, version.table_version, version.index_spec, source)
    old_positions = np.where(alive < overlay.base_count, alive, -1)
    file = folder / INDEX_FILE
    if not keep_up(index, old_positions, lambda positions: overlay.vectors(alive[positions]), file):
        problem = f"the index of version {version.version}, of kind {version.kind!r}, cannot take up revision"
        remedy = "export to npy or parquet, or after the next refresh"
        raise InvalidData(f"{problem} {revised.label}; {remedy}", field="to")
