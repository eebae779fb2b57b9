"""Products that are added or changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from indexer.store.table_schema import VECTOR
from indexer.updates.current_products import CurrentProducts
from indexer.updates.limits import UpdateLimits
from indexer.updates.merging import MergedProducts, merge_products
from indexer.updates.product_changes import ProductChanges, changes_in_memory, read_changes
from indexer.updates.product_encoder import KnownVectors
from indexer.updates.report import UpdateReport
from indexer.updates.segment_rows import upserted_rows
from indexer.updates.update import Outcome, next_stamp
from ubm_embed.data.arrays import BoolArray, FloatArray
from ubm_embed.data.mappings.mapping import Mapping as ColumnMapping
from ubm_embed.data.tables.table_files import table_files
from ubm_embed.progress import Notice


class Upsert:
    """An `Update` that adds products of a file or of memory, or gives their fields other values.

    Args:
        products: path of a file or a folder, or products as JSON has them.
        vectors: of the texts that nothing has a vector of.
        notice: is told what was changed in the file.
    """

    def __init__(
        self,
        products: str | Path | Sequence[Mapping[str, Any]],
        mapping: ColumnMapping | None,
        vectors: KnownVectors,
        limits: UpdateLimits,
        notice: Notice,
    ) -> None:
        self._products, self._mapping = products, mapping
        self._vectors, self._limits, self._notice = vectors, limits, notice
        self._read: tuple[Mapping[str, pl.DataType], ProductChanges] | None = None

    def outcome(self, current: CurrentProducts) -> Outcome:
        """As `Update`.

        Raises:
            NotFound, InvalidData, Conflict, QualityGateFailed: as `Updater.upsert`.
        """
        changes = self._changes(current)
        merged = merge_products(changes, current.find(changes.rows["product_id"].to_list()))
        self._limits.require_products(current.changed_after(merged.rows["product_id"]), current.version.products)
        vectors, has_vector = self._encoded(merged, current)
        rows = upserted_rows(merged.rows, vectors, has_vector, current.segment_schema, next_stamp(current))
        kinds = tuple(merged.kinds)
        report = UpdateReport(
            version=current.version.version,
            revision=current.revision_number,
            new=kinds.count("new"),
            changed=kinds.count("changed"),
            updated=kinds.count("updated"),
            unchanged=kinds.count("unchanged"),
            encoded=self._vectors.encoded,
            kinds=kinds,
        )
        return Outcome(rows, report)

    def _changes(self, current: CurrentProducts) -> ProductChanges:
        """The changes in the types of the version's columns, read once for all versions with the same."""
        if self._read is None or self._read[0] != current.columns:
            max_rows = self._limits.products(current.version.products)
            if isinstance(self._products, str | Path):
                changes = self._from_files(Path(self._products), current, max_rows)
            else:
                self._limits.require_rows(len(self._products), current.version.products)
                changes = changes_in_memory(self._products, current.columns)
            self._limits.require_rows(changes.rows.height, current.version.products)
            self._read = current.columns, changes
        return self._read[1]

    def _from_files(self, path: Path, current: CurrentProducts, max_rows: int) -> ProductChanges:
        self._limits.require_bytes(sum(file.stat().st_size for file in table_files(path)), f"{path} has")
        changes = read_changes(path, current.columns, self._mapping, max_rows=max_rows + 1)
        for message in changes.notices if self._read is None else ():
            self._notice(message)
        return changes

    def _encoded(self, merged: MergedProducts, current: CurrentProducts) -> tuple[FloatArray, BoolArray]:
        """The vector of each product whose text is not that of its base row, and whether it has one."""
        has_vector = merged.has_new_text.to_numpy()
        vectors = np.zeros((merged.rows.height, current.version.dimension), np.float32)
        is_known = has_vector & merged.rows[VECTOR].is_not_null().to_numpy()
        vectors[is_known] = merged.rows[VECTOR].filter(is_known).to_numpy()
        missing = has_vector & ~is_known
        if missing.any():
            vectors[missing] = self._vectors.vectors(current.version, merged.rows.filter(missing))
        return vectors, has_vector
