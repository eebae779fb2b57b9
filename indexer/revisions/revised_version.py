"""The products of a version with its last revision, read while others publish."""

from __future__ import annotations

from dataclasses import dataclass

from indexer.revisions.version_rows import VersionRows
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.live import read_live
from indexer.versions.revision import Revision, version_label
from indexer.versions.version import StoreVersion, read_version
from ubm_embed.errors import InvalidData, NotFound

# How often something may be published in the moments in which what was live is opened.
_MAX_TRIES = 5


@dataclass(frozen=True)
class RevisedVersion:
    """A version with one of its revisions.

    Attributes:
        version: the version.
        revision: None for the version as it was published.
    """

    version: StoreVersion
    revision: Revision | None = None

    @property
    def label(self) -> str:
        """As people write it, such as `3.17`."""
        return version_label(self.version.version, self.revision)


@dataclass(frozen=True)
class RevisedRows:
    """The products of a version with its last revision.

    Attributes:
        revised: the version and its revision.
        rows: its products.
    """

    revised: RevisedVersion
    rows: VersionRows

    def __len__(self) -> int:
        """How many products there are."""
        return int(self.rows.alive.sum())


def open_revised_rows(store: EmbeddingStore, number: int | None = None) -> RevisedRows:
    """The products of a version by its number, or of the live one.

    Raises:
        NotFound: there is no version with this number.
        InvalidData: a file of the version or its revision is missing or damaged.
    """
    for attempt in range(1, _MAX_TRIES + 1):
        live = read_live(store)
        try:
            version = read_version(store, live.version if number is None else number)
            revised = RevisedVersion(version, live.revisions.get(version.version))
            return RevisedRows(revised, VersionRows.open(store, version, revised.revision))
        except (InvalidData, NotFound, OSError):
            # A version is pruned, and a segment merged with later ones, once something later is live.
            if attempt == _MAX_TRIES or read_live(store) == live:
                raise
    raise AssertionError("the last attempt returns or raises")
