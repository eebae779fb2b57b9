"""What differs between two versions of a store, or between a version and what was made of it since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from indexer.index.kinds import MEDIAN_MS
from indexer.revisions.revised_version import RevisedVersion
from indexer.revisions.version_rows import VersionRows
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.table_schema import POPULARITY, ROW_HASH, TEXT_HASH
from indexer.versions.version import StoreVersion
from ubm_embed.errors import InvalidData

# Any two versions differ in these, or may: they are about how a version came to be.
_ALWAYS_DIFFERENT = {"version", "table_version", "created", "gates", "files", "changes", "base", "index_update"}
# The two halves of a hash of 16 bytes.
_TEXT_HASH = (f"{TEXT_HASH}_0", f"{TEXT_HASH}_1")


@dataclass(frozen=True)
class Difference:
    """What differs between a version and a later one, or between two revisions.

    Attributes:
        before, after: their numbers.
        labels: both as people write them, with their revisions.
        manifest: fields that differ, each with both values.
        new, changed, updated, removed: ids of the products that `ChangeCounts` counts under these names, sorted.
        unchanged: how many products are the same.
    """

    before: int
    after: int
    labels: tuple[str, str]
    manifest: Mapping[str, tuple[Any, Any]]
    new: pl.Series
    changed: pl.Series
    updated: pl.Series
    removed: pl.Series
    unchanged: int

    @classmethod
    def between(cls, store: EmbeddingStore, before: RevisedVersion, after: RevisedVersion) -> Difference:
        """Compare two versions.

        Raises:
            InvalidData: a file is damaged, or one of the versions was written by older software, without hashes.
        """
        old, new = (_rows(store, revised) for revised in (before, after))
        both = old.join(new, on="product_id", how="inner", suffix="_after")
        text_differs, rest_differs = _differ(*_TEXT_HASH), _differ(ROW_HASH, POPULARITY)
        return cls(
            before=before.version.version,
            after=after.version.version,
            labels=(before.label, after.label),
            manifest=_manifest_differences(before.version, after.version),
            new=_ids(new.join(old, on="product_id", how="anti")),
            changed=_ids(both.filter(text_differs)),
            updated=_ids(both.filter(~text_differs & rest_differs)),
            removed=_ids(old.join(new, on="product_id", how="anti")),
            unchanged=both.filter(~text_differs & ~rest_differs).height,
        )

    def to_dict(self, max_ids: int) -> dict[str, Any]:
        """As JSON, with at most `max_ids` ids for each kind of change."""
        changes = {"new": self.new, "changed": self.changed, "updated": self.updated, "removed": self.removed}
        return {
            "before": self.before,
            "after": self.after,
            "labels": list(self.labels),
            "manifest": {name: list(values) for name, values in self.manifest.items()},
            **{name: ids.len() for name, ids in changes.items()},
            "unchanged": self.unchanged,
            "ids": {name: ids.head(max_ids).to_list() for name, ids in changes.items()},
        }


def _rows(store: EmbeddingStore, revised: RevisedVersion) -> pl.DataFrame:
    rows = VersionRows.open(store, revised.version, revised.revision)
    if not rows.row_hashes[:1].any():
        problem = "older software wrote it without hashes, so that it cannot be compared; refresh first"
        raise InvalidData(f"version {revised.label}: {problem}", file=store.table.uri)
    alive = np.flatnonzero(rows.alive)
    ids = pa.Table.from_batches(rows.batches(["product_id"]), pa.schema([rows.schema.field("product_id")]))
    halves = np.ascontiguousarray(rows.text_hashes).view("<u8").reshape(-1, 2)[alive]
    hashes = dict(zip(_TEXT_HASH, halves.T, strict=True))
    columns = hashes | {ROW_HASH: rows.row_hashes[alive], POPULARITY: rows.popularity[alive]}
    return pl.DataFrame(ids).with_columns(pl.Series(name, values) for name, values in columns.items())


def _differ(*columns: str) -> pl.Expr:
    return pl.any_horizontal(pl.col(column) != pl.col(f"{column}_after") for column in columns)


def _ids(rows: pl.DataFrame) -> pl.Series:
    return rows["product_id"].sort()


def _manifest_differences(before: StoreVersion, after: StoreVersion) -> dict[str, tuple[Any, Any]]:
    old, new = _without_timing(before), _without_timing(after)
    return {name: (old[name], new[name]) for name in old if name not in _ALWAYS_DIFFERENT and old[name] != new[name]}


def _without_timing(version: StoreVersion) -> dict[str, Any]:
    """The manifest without the measured speed of the index, which differs from day to day."""
    document = version.to_dict()
    parameters = {name: value for name, value in document["parameters"].items() if name != MEDIAN_MS}
    return document | {"parameters": parameters}
