"""Which products are new, removed or changed from one version to another."""

from __future__ import annotations

from indexer.diagnostics.report import Metric
from indexer.diagnostics.space import VersionSpace
from indexer.revisions.difference import Difference
from indexer.revisions.revised_version import RevisedVersion
from indexer.store.table_schema import TEXT_HASH

_MEANINGS = {
    "share_new": "products that the earlier version lacks",
    "share_removed": "products of the earlier version that the later one lacks, as a share of the earlier one's",
    "share_changed": "products of both whose text differs, so that they have another vector",
}


def difference_between(before: VersionSpace, after: VersionSpace) -> Difference | None:
    """The ids of what differs as published; None if older software wrote one of the versions, without hashes."""
    store, versions = after.store, (before.opened.version, after.opened.version)
    if not all(TEXT_HASH in store.table.schema(version.table_version).names for version in versions):
        return None
    return Difference.between(store, *map(RevisedVersion, versions))


def catalogue_metrics(difference: Difference, before: int, after: int) -> list[Metric]:
    """The shares of new, removed and changed products.

    Args:
        before, after: the versions' products.
    """
    values = {
        "share_new": difference.new.len() / after,
        "share_removed": difference.removed.len() / before,
        "share_changed": difference.changed.len() / after,
    }
    measured = f"all {before:,} and {after:,} products"
    return [
        Metric(name=name, value=value, measured_on=measured, meaning=_MEANINGS[name]) for name, value in values.items()
    ]
