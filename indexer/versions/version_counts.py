"""The counts of a version: its own, or those of the version whose files it shares."""

from __future__ import annotations

from pathlib import Path

from indexer.counts.counts_file import COUNTS_FILE, VersionCounts, read_counts
from indexer.versions.version import StoreVersion


def counts_folder(version: StoreVersion, folder: Path, own: Path | None = None) -> Path | None:
    """The folder that has the counts of a version; None of a version without counts.

    Args:
        folder: of `version.files_version`.
        own: the version's folder, if that is another one.
    """
    if version.counts is None:
        return None
    return own if own is not None and COUNTS_FILE in version.files else folder


def open_counts(version: StoreVersion, folder: Path, own: Path | None = None) -> VersionCounts | None:
    """The counts of a version, mapped; None of a version without counts.

    Args:
        folder: of `version.files_version`; it may be removed once this returns.
        own: the version's folder, if that is another one.

    Raises:
        InvalidData: the file is missing, truncated or damaged, or has other rows than the version.
    """
    holder = counts_folder(version, folder, own)
    return None if holder is None else read_counts(holder / COUNTS_FILE, version.products)
