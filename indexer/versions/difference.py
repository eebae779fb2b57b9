"""What is different between two versions of a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from indexer.index.kinds import MEDIAN_MS
from indexer.store.embedding_store import EmbeddingStore
from indexer.store.table_schema import POPULARITY, ROW_HASH, TEXT_HASH
from indexer.versions.version import StoreVersion

_SAME_BY_NATURE = {"version", "table_version", "created", "gates", "files", "changes", "base"}


@dataclass(frozen=True)
class Difference:
    """From one version to another.

    Attributes:
        before, after: their numbers.
        manifest: fields that differ, each with both values.
        new, changed, updated, removed: ids of products, as `ChangeCounts` has them, in order.
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
            InvalidData: the table is damaged, or one of the versions is of older software.
        """
        old, new = (_rows(store, version) for version in (before, after))
        both = old.join(new, on="product_id", how="inner", suffix="_after")
        text, other = (_differs(TEXT_HASH), _differs(ROW_HASH) | _differs(POPULARITY))
        return cls(
            before=before.version,
            after=after.version,
            manifest=_fields(before, after),
            new=_ids(new.join(old, on="product_id", how="anti")),
            changed=_ids(both.filter(text)),
            updated=_ids(both.filter(~text & other)),
            removed=_ids(old.join(new, on="product_id", how="anti")),
            unchanged=both.filter(~text & ~other).height,
        )

    def to_dict(self, ids: int) -> dict[str, Any]:
        """As JSON, with at most so many ids of each kind."""
        kinds = {"new": self.new, "changed": self.changed, "updated": self.updated, "removed": self.removed}
        return {
            "before": self.before,
            "after": self.after,
            "manifest": {name: list(values) for name, values in self.manifest.items()},
            **{name: found.len() for name, found in kinds.items()},
            "unchanged": self.unchanged,
            "ids": {name: found.head(ids).to_list() for name, found in kinds.items()},
        }


def _rows(store: EmbeddingStore, version: StoreVersion) -> pl.DataFrame:
    return store.table.read(version.table_version, ["product_id", TEXT_HASH, ROW_HASH, POPULARITY])


def _differs(column: str) -> pl.Expr:
    return pl.col(column).ne_missing(pl.col(f"{column}_after"))


def _ids(rows: pl.DataFrame) -> pl.Series:
    return rows["product_id"].sort()


def _fields(before: StoreVersion, after: StoreVersion) -> dict[str, tuple[Any, Any]]:
    old, new = _lasting(before), _lasting(after)
    return {name: (old[name], new[name]) for name in old if name not in _SAME_BY_NATURE and old[name] != new[name]}


def _lasting(version: StoreVersion) -> dict[str, Any]:
    """The manifest without how fast the index was that day."""
    document = asdict(version)
    return document | {
        "parameters": {name: value for name, value in document["parameters"].items() if name != MEDIAN_MS}
    }
