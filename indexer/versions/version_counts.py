"""The counts of a version: its own, or those of the version whose files it shares."""

from __future__ import annotations

from pathlib import Path

from indexer.counts.counts_file import COUNTS_FILE, VersionCounts, read_counts
from indexer.versions.version import StoreVersion


def counts_holder(version: StoreVersion) -> int | None:
    """The version in whose folder the counts of a version are; None of a version without counts."""
    if version.counts is None:
        return None
    return version.version if COUNTS_FILE in version.files else version.files_version


def open_counts(version: StoreVersion, folder: Path, own: Path | None = None) -> VersionCounts | None:
    """The counts of a version, mapped; None of a version without counts.

    Args:
        folder: of `version.files_version`; it may be removed once this returns.
        own: the version's folder, if that is another one.

    Raises:
        InvalidData: the file is missing, truncated or damaged, or has other rows than the version.
    """
    holder = counts_holder(version)
    if holder is None:
        return None
    return read_counts(
        (own if own is not None and holder == version.version else folder) / COUNTS_FILE, version.indexed
    )
