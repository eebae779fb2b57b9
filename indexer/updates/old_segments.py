"""Segments that no reader needs any more, removed with each update, so that thousands of them do not await pruning."""

from __future__ import annotations

import contextlib

from indexer.store.embedding_store import EmbeddingStore, revision_folder
from indexer.versions.live import Live
from indexer.versions.revision import Revision, revision_of_segment, segment_path
from ubm_embed.errors import UbmError


def remove_old_segments(store: EmbeddingStore, before: Live, revision: Revision) -> None:
    """Remove the segments that neither a revision nor the one before it has. What fails is left to a pruning.

    A reader may still be about to open the revision before. Segments that others wrote for this revision's number, or a
    higher one, are left: their writers may be about to publish them, or to remove them.

    Args:
        before: what was live before the revision.
    """
    needed = _names(revision) | _names(before.revision)
    with contextlib.suppress(UbmError, OSError):
        for name in store.storage.list(revision_folder(before.version)):
            if name not in needed and 0 < revision_of_segment(name) < revision.number:
                store.storage.remove(segment_path(before.version, name))


def remove_unpublished(store: EmbeddingStore, before: Live, revision: Revision) -> None:
    """Remove the segments that were written for a revision that did not become live."""
    with contextlib.suppress(UbmError, OSError):
        for name in _names(revision) - _names(before.revision):
            store.storage.remove(segment_path(before.version, name))


def has_segments_of(live: Live, before: Live, revision: Revision) -> bool:
    """Whether segments that were written for a revision of the live version are live."""
    return not _names(live.revisions.get(before.version)).isdisjoint(_names(revision) - _names(before.revision))


def _names(revision: Revision | None) -> set[str]:
    return {segment.name for segment in revision.segments} if revision else set()
