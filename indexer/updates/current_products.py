"""The products of the live version as they are now: its own, under what revisions made of them.

Letters: K ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
import pyarrow as pa

from indexer.catalogue.catalogue_writer import POPULARITY_FILE
from indexer.catalogue.mapped_catalogue import CATALOGUE_FILES, MappedCatalogue
from indexer.catalogue.version_catalogue import open_catalogue
from indexer.refresh.product_hashes import with_hashes
from indexer.revisions.segment import ROW_DELETED, read_patch, read_rows, segment_schema
from indexer.store.embedding_store import EmbeddingStore, version_folder
from indexer.store.table_schema import POPULARITY, ROW_HASH, TEXT_HASH, VECTOR
from indexer.updates.latest_rows import LatestRows
from indexer.versions.revision import Revision
from indexer.versions.version import PATCH_FILE, StoreVersion
from ubm_embed.errors import InvalidData

# What is read of a version.
_FILES = (*CATALOGUE_FILES, POPULARITY_FILE, PATCH_FILE)
EXISTS, BASE_TEXT_HASH = "_row_exists", "_row_base_text_hash"


class CurrentProducts:
    """Products by id. One thread at a time may use it.

    Attributes:
        version: whose products these are.
        revision: that is read; None for the version as it was published.
        segment_schema: of the rows of the version's segments.
        columns: the shop's columns and their types.

    Raises:
        InvalidData: a file of the version or of a revision is missing or damaged; also from any method.
    """

    def __init__(
        self, store: EmbeddingStore, version: StoreVersion, base: MappedCatalogue, patch: pa.Table | None
    ) -> None:
        self.version = version
        self.revision: Revision | None = None
        self.segment_schema = segment_schema(base.schema, version.dimension)
        shop = pa.schema([field for field in base.schema if field.name != POPULARITY])
        self.columns: pl.Schema = _frame(pa.Table.from_batches([], shop)).schema
        self._store, self._base = store, base
        self._patch, self._changes = LatestRows(), LatestRows()
        if patch is not None:
            self._patch.add(_frame(patch))

    @classmethod
    def open(cls, store: EmbeddingStore, version: StoreVersion) -> Self:
        """Those of a version as it was published.

        Raises:
            InvalidData, OSError: as `open_catalogue`.
        """
        try:
            with ExitStack() as stack:
                needed = _FILES if version.layout > 1 else None
                folder = stack.enter_context(store.storage.open_folder(version_folder(version.files_version), needed))
                own = None
                if version.shares_files_of:
                    own = stack.enter_context(store.storage.open_folder(version_folder(version.version), needed))
                base = _open_base(store, version, folder, own)
                patch = None
                if PATCH_FILE in version.files:
                    patch = read_patch((own or folder) / PATCH_FILE, segment_schema(base.schema, version.dimension))
        except FileNotFoundError as error:
            file = error.filename or f"{store.uri}/{version_folder(version.version)}"
            raise InvalidData("missing; the store is damaged", file=file) from None
        return cls(store, version, base, patch)

    @property
    def revision_number(self) -> int:
        """Number of the revision; 0 for the version as it was published."""
        return self.revision.number if self.revision else 0

    def advance(self, revision: Revision | None) -> None:
        """Read what a later revision adds to the one that is read, or begin again if changes were dropped since."""
        if revision == self.revision:
            return
        if revision is None or not revision.continues(self.revision_number):
            self._changes, self.revision = LatestRows(), None
        rows = read_rows(self._store, self.version.version, revision, self.segment_schema, self.revision)
        self.add(rows, revision)

    def add(self, rows: pa.Table, revision: Revision | None) -> None:
        """Take up the rows that a revision adds to the one that is read."""
        self._changes.add(_frame(rows))
        self.revision = revision

    def changed_after(self, product_ids: Iterable[str]) -> int:
        """How many products the revision speaks of once these are changed, too."""
        return len(self._changes) + sum(name not in self._changes for name in product_ids)

    def __len__(self) -> int:
        """How many products there are; it looks at all that the revision speaks of."""
        changed = self.find(list(self._changes))
        is_base = changed[BASE_TEXT_HASH].is_not_null()
        added = int((changed[EXISTS] & ~is_base).sum())
        return self.version.products + added - int((~changed[EXISTS] & is_base).sum())

    def find(self, product_ids: Sequence[str]) -> pl.DataFrame:
        """What the products with these ids are: [K].

        Columns: the shop's; `EXISTS`; `TEXT_HASH` and `ROW_HASH` of the product, null if it does not exist;
        `BASE_TEXT_HASH`, of the version's own row, if there is one; and `VECTOR`, if its text is another one.
        """
        base = self._base_rows(product_ids)
        texts = base.select("product_id", pl.col(TEXT_HASH).alias(BASE_TEXT_HASH))
        rows = base.with_columns(pl.lit(None, self._vector).alias(VECTOR))
        for later in (self._patch, self._changes):
            rows = _replaced(rows, later.find(product_ids), rows.columns)
        asked = pl.DataFrame({"product_id": product_ids}, schema={"product_id": pl.String})
        joined = asked.join(rows, on="product_id", how="left", maintain_order="left")
        joined = joined.with_columns(pl.col(ROW_HASH).is_not_null().alias(EXISTS))
        return joined.join(texts, on="product_id", how="left", maintain_order="left")

    def close(self) -> None:
        """Release the files of the version."""
        self._base.close()

    @property
    def _vector(self) -> pl.DataType:
        return pl.Array(pl.Float32, self.version.dimension)

    def _base_rows(self, product_ids: Sequence[str]) -> pl.DataFrame:
        """The version's own rows of those of the products that it has, with both hashes."""
        positions = np.fromiter(self._base.find(product_ids).values(), np.int64)
        values = (pl.Series(name, self._base.values(name, positions), dtype) for name, dtype in self.columns.items())
        return with_hashes(pl.DataFrame(values))


def _open_base(store: EmbeddingStore, version: StoreVersion, folder: Path, own: Path | None) -> MappedCatalogue:
    if version.layout == 1:
        return open_catalogue(store, version, folder)
    # Not the index, which may be large and which nothing here reads.
    return MappedCatalogue.open(folder, version.indexed, own=own)


def _replaced(rows: pl.DataFrame, later: pl.DataFrame | None, columns: Sequence[str]) -> pl.DataFrame:
    """Rows, those of the same products replaced by later ones, or left out for a tombstone."""
    if later is None:
        return rows
    if VECTOR not in later.columns:
        later = later.with_columns(pl.lit(None, rows.schema[VECTOR]).alias(VECTOR))
    kept = rows.join(later, on="product_id", how="anti")
    return pl.concat([kept, later.filter(~pl.col(ROW_DELETED)).select(columns)])


def _frame(rows: pa.Table) -> pl.DataFrame:
    """Arrow rows as polars has them; hashes, which have a fixed width there, as bytes."""
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    return frame
