"""The versions of a store as a person sees them: which one is live, which ones were, and how they are tagged."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from indexer.store.embedding_store import EmbeddingStore, version_folder
from indexer.versions.live import Live, read_live, version_numbers
from indexer.versions.revision import Revision, version_label
from indexer.versions.tags import read_tags
from indexer.versions.version import StoreVersion, read_version
from ubm_embed.errors import InvalidData, NotFound


@dataclass(frozen=True)
class HistoryEntry:
    """One version.

    Attributes:
        state: `live`; `before` if it was live before that one and was not withdrawn; `withdrawn` if it was rolled back
            or never published.
        tags: sorted.
        bytes: size of its own files; its rows in the table share files with those of other versions.
        revision: its last one.
        manifest: None if it cannot be read.
        problem: why the manifest cannot be read.
    """

    version: int
    state: str
    tags: tuple[str, ...]
    bytes: int
    revision: Revision | None
    manifest: StoreVersion | None
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON: these fields and those of the manifest."""
        document: dict[str, Any] = {"version": self.version, "label": self.label}
        document |= {"state": self.state, "tags": list(self.tags), "revision": self._revision()}
        if self.manifest is not None:
            document |= self.manifest.to_dict()
        return document | {"bytes": self.bytes} | ({"problem": self.problem} if self.problem else {})

    @property
    def label(self) -> str:
        """The version and its last revision, such as `3.17`."""
        return version_label(self.version, self.revision)

    def _revision(self) -> dict[str, Any] | None:
        if self.revision is None:
            return None
        return {name: getattr(self.revision, name) for name in ("number", "rows", "bytes", "created")}


def history(store: EmbeddingStore) -> list[HistoryEntry]:
    """All versions of a store, newest first.

    Raises:
        InvalidData: live.json or tags.json is damaged.
    """
    live, tags = read_live(store), read_tags(store)
    entries = []
    for number in reversed(version_numbers(store)):
        with suppress(NotFound):  # pruned just now
            entries.append(_entry(store, number, live, tags))
    return entries


def history_entry(store: EmbeddingStore, number: int) -> HistoryEntry:
    """One version of a store, by its number.

    Raises:
        NotFound: there is no version with this number.
        InvalidData: live.json or tags.json is damaged.
    """
    return _entry(store, number, read_live(store), read_tags(store))


def _entry(store: EmbeddingStore, number: int, live: Live, numbers_by_tag: Mapping[str, int]) -> HistoryEntry:
    state = "live" if number == live.version else "before" if number in live.history else "withdrawn"
    tags = tuple(sorted(tag for tag, tagged in numbers_by_tag.items() if tagged == number))
    size, revision = store.storage.size(version_folder(number)), live.revisions.get(number)
    try:
        return HistoryEntry(number, state, tags, size, revision, read_version(store, number))
    except InvalidData as error:
        return HistoryEntry(number, state, tags, size, revision, None, str(error))
