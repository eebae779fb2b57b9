"""Segments that belong to no revision: of writers that were killed or lost a race, and those that were merged."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator

from indexer.store.embedding_store import REVISIONS, EmbeddingStore, revision_folder
from indexer.versions.live import Live
from indexer.versions.revision import segment_path

# A writer makes a segment live within seconds, and a reader of the revision before opens it as soon.
_MIN_AGE_SECONDS = 3600.0


def leftover_segments(store: EmbeddingStore, live: Live, numbers: Collection[int]) -> list[str]:
    """Names in the store of what `remove_leftover_segments` removes."""
    return [*_stray_folders(store, live, numbers), *_stray_segments(store, live, numbers)]


def remove_leftover_segments(store: EmbeddingStore, live: Live, numbers: Collection[int]) -> None:
    """Remove the segments of versions that are gone, and old ones that no revision has.

    Args:
        live: was read before anything else: what became live since is younger than what is removed.
        numbers: of the versions that there are.
    """
    for name in leftover_segments(store, live, numbers):
        store.storage.remove(name)


def _stray_folders(store: EmbeddingStore, live: Live, numbers: Collection[int]) -> Iterator[str]:
    known = {live.version, *live.revisions, *numbers}
    names = store.storage.list(REVISIONS)
    yield from (revision_folder(int(name)) for name in names if name.isdecimal() and int(name) not in known)


def _stray_segments(store: EmbeddingStore, live: Live, numbers: Collection[int]) -> Iterator[str]:
    newest = time.time() - _MIN_AGE_SECONDS
    for number in {live.version, *numbers}:
        revision = live.revisions.get(number)
        named = {segment.name for segment in revision.segments} if revision else set()
        for name in set(store.storage.list(revision_folder(number))) - named:
            with contextlib.suppress(FileNotFoundError):  # another process removed it just now
                if store.storage.modified(segment_path(number, name)) < newest:
                    yield segment_path(number, name)
