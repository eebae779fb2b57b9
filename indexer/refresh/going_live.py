"""The one step that makes a version live, with what was upserted while it was being made.

A refresh may take hours, and takes no lock from those who upsert: a revision of the version that it began from may be
published at any time until the swap. Then only the newer rows are carried over, and the swap is tried again.
"""

from __future__ import annotations

from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.live import Live, make_live, read_live
from indexer.versions.version import StoreVersion
from ubm_embed.errors import Conflict


def go_live(store: EmbeddingStore, version: StoreVersion, *, known: Live | None) -> int:
    """Make a version live and return how many rows of later revisions it took over.

    Args:
        known: what was live when the work on the version began, whose revision counts as read; None if nothing was.

    Raises:
        Conflict: another version was made live since, and nothing was published.
    """
    if known is not None:
        fresh = read_live(store)
        if fresh.version == known.version and fresh.revision != known.revision:
            raise Conflict(f"version {known.version} of {store.uri} was changed meanwhile; nothing was published")
    make_live(store, version.version, known=known)
    return 0
