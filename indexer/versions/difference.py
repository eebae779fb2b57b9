"""What differs between two versions of a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from indexer.index.kinds import MEDIAN_MS
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.table_schema import POPULARITY, ROW_HASH, TEXT_HASH
from indexer.versions.version import StoreVersion

# Any two versions differ in these.
_ALWAYS_DIFFERENT = {"version", "table_version", "created", "gates", "files", "changes", "base"}


@dataclass(frozen=True)
class Difference:
    """What differs between a version and a later one.

    Attributes:
        before, after: their numbers.
        manifest: fields that differ, each with both values.
        new, changed, updated, removed: ids of the products that `ChangeCounts` counts under these names, sorted.
        unchanged: how many products are the same.
    """

    before: int
    after: int
    manifest: Mapping[str, tuple[Any, Any]]
    new: pl.Series
    changed: pl.Series
    updated: pl.Series
    removed: pl.Series
    unchanged: int

    @classmethod
    def between(cls, store: EmbeddingStore, before: StoreVersion, after: StoreVersion) -> Difference:
        """Compare two versions.

        Raises:
            InvalidData: the table is damaged, or one of the versions was written by older software, without hashes.
        """
        old, new = (_rows(store, version) for version in (before, after))
        both = old.join(new, on="product_id", how="inner", suffix="_after")
        text_differs, rest_differs = _differs(TEXT_HASH), _differs(ROW_HASH) | _differs(POPULARITY)
        return cls(
            before=before.version,
            after=after.version,
            manifest=_manifest_differences(before, after),
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
            "manifest": {name: list(values) for name, values in self.manifest.items()},
            **{name: ids.len() for name, ids in changes.items()},
            "unchanged": self.unchanged,
            "ids": {name: ids.head(max_ids).to_list() for name, ids in changes.items()},
        }


def _rows(store: EmbeddingStore, version: StoreVersion) -> pl.DataFrame:
    return store.table.read(version.table_version, ["product_id", TEXT_HASH, ROW_HASH, POPULARITY])


def _differs(column: str) -> pl.Expr:
    return pl.col(column).ne_missing(pl.col(f"{column}_after"))


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
