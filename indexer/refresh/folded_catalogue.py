"""A feed with the products of a revision that are newer than it, as one catalogue.

Letters: K products that are newer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ubm_embed.data.mappings.column import ColumnType
from ubm_embed.data.product_rows import AreClean, none_is_clean
from ubm_embed.data.products import CatalogueChanges, CatalogueFile
from ubm_embed.errors import InvalidData


@dataclass(frozen=True)
class NewerProducts:
    """What a revision says of products after a feed was written.

    Attributes:
        product_ids: of all of them, the deleted ones too: [K].
        rows: of those that are not deleted, with the shop's columns.
        record: of all this, as a file of the new version has it.
    """

    product_ids: pl.Series
    rows: pl.DataFrame
    record: bytes = b""


class FoldedCatalogue:
    """A catalogue's file in which some products are not as the file has them. Each reading of it is the same.

    Args:
        file: the feed.
        newer: products that count in place of the feed's; None if there are none.
    """

    def __init__(self, file: CatalogueFile, newer: NewerProducts | None = None) -> None:
        self.file, self.newer = file, newer
        self._dropped = np.empty(0, np.int64)
        self.last_row: int = -1
        self.last: dict[str, Any] = {}

    @property
    def path(self) -> Path:
        """Of the feed."""
        return self.file.path

    @property
    def files(self) -> list[Path]:
        """As `CatalogueFile.files`."""
        return self.file.files

    @property
    def changes(self) -> CatalogueChanges:
        """What the last reading changed."""
        return self.file.changes

    def batches(self, rows: int, are_clean: AreClean = none_is_clean) -> Iterator[pl.DataFrame]:
        """The products, about `rows` at a time: those of the feed first.

        Args:
            are_clean: as of `CatalogueFile.batches`.

        Raises:
            NotFound, InvalidData: as `CatalogueFile.batches`.
        """
        read, done, schema, dropped = 0, 0, pl.Schema(), list[int]()
        for batch in self.file.batches(rows, are_clean):
            schema, before = batch.schema, read
            read += batch.height
            if self.newer is not None:
                replaced = batch["product_id"].is_in(self.newer.product_ids.implode())
                dropped += (before + replaced.arg_true()).to_list()
                batch = batch.filter(~replaced)
            if batch.height:
                done += batch.height
                self.last_row, self.last = done - 1, batch.row(-1, named=True)
                yield batch
        self._dropped = np.array(dropped, np.int64)
        added = 0 if self.newer is None else self.newer.rows.height
        if added:
            yield from in_schema(self.newer.rows, schema).iter_slices(rows) if self.newer else ()
        if not done + added:
            raise InvalidData("every product of it was deleted after it was written", file=self.path)

    def locate(self, position: int) -> tuple[Path, int]:
        """The file of a product of the feed and its row there, by its position among all products."""
        shifts = self._dropped - np.arange(self._dropped.size)
        return self.file.locate(position + int(np.searchsorted(shifts, position, side="right")))

    def first_misfit(self, column: str, kind: ColumnType) -> str | None:
        """As `CatalogueFile.first_misfit`."""
        return self.file.first_misfit(column, kind)


def in_schema(rows: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """Rows with the columns of a feed; a value that does not fit into its column is missing."""
    columns = [
        pl.col(name).cast(dtype, strict=False) if name in rows.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in schema.items()
    ]
    return rows.select(columns)
