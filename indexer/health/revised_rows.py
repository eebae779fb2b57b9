"""The patch of a version and its revision: are they whole, and do they fit the products of its files.

Letters: M products of the version's files, N positions appended.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from indexer.refresh.product_hashes import with_hashes
from indexer.refresh.shards import not_unit_length
from indexer.revisions.overlay import Overlay
from indexer.revisions.segment import ROW_DELETED
from indexer.revisions.version_rows import VersionRows
from indexer.store.embedding_store import EmbeddingStore, revision_folder, version_folder
from indexer.store.table_schema import TEXT_HASH
from indexer.versions.live import read_live
from indexer.versions.revision import Revision
from indexer.versions.version import PATCH_FILE, StoreVersion
from ubm_embed.data.corpus import PRODUCT_SCHEMA
from ubm_embed.errors import InvalidData

# How often something may be published while a revision is read.
_MAX_TRIES = 5


def require_sound_patch(store: EmbeddingStore, version: StoreVersion) -> None:
    """Read the patch and the popularity of a version that shares the files of another one.

    Raises:
        InvalidData: names the file that is damaged, or has other products than the shared files.
    """
    rows = VersionRows.open(store, version)
    file = f"{store.uri}/{version_folder(version.version)}/{PATCH_FILE}"
    _require_texts(rows.overlay, file)
    if len(rows) != version.products:
        raise InvalidData("it has products that the shared files lack", file=file)


def require_sound_revision(store: EmbeddingStore, version: StoreVersion) -> None:
    """Read all segments of a version's last revision, if it has one.

    Raises:
        InvalidData: names the segment that is missing or damaged, or the folder if rows do not fit their vectors.
    """
    for _ in range(_MAX_TRIES):
        revision = read_live(store).revisions.get(version.version)
        try:
            _require_sound(store, version, revision)
            return
        except InvalidData:
            # Segments are merged and removed with each upsert.
            if read_live(store).revisions.get(version.version) == revision:
                raise


def _require_sound(store: EmbeddingStore, version: StoreVersion, revision: Revision | None) -> None:
    if revision is None:
        return
    overlay = VersionRows.open(store, version, revision).overlay
    folder = f"{store.uri}/{revision_folder(version.version)}"
    _require_texts(overlay, folder)
    vectors = overlay.vectors(np.arange(overlay.base_count, len(overlay)))
    if bad := not_unit_length(vectors).size:
        raise InvalidData(f"{bad} of {len(vectors)} vectors are not of length 1", file=folder)


def _require_texts(overlay: Overlay, file: str) -> None:
    """Require that each row has the hash of its text, which decides over its vector."""
    rows = pl.DataFrame(overlay.whole.rows.select([*PRODUCT_SCHEMA, TEXT_HASH, ROW_DELETED]))
    rows = rows.filter(~pl.col(ROW_DELETED))
    changed = int((with_hashes(rows.select(*PRODUCT_SCHEMA))[TEXT_HASH] != rows[TEXT_HASH]).sum())
    if changed:
        raise InvalidData(f"{changed} of {rows.height} products have a text that was not encoded", file=file)
