"""The one step that makes a version live, with what was upserted while it was being made.

A refresh may take hours, and takes no lock from those who upsert: a revision of the version that it began from may be
published at any time until the swap. Then only the newer rows are carried over, and the swap is tried again.
"""

from __future__ import annotations

from indexer.refresh.carry_over import CarriedRows
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.live import Live, make_live, read_live
from indexer.versions.version import StoreVersion
from ubm_embed.errors import Conflict, InvalidData

# Each try takes some milliseconds, in which a revision may come. Ten a second leave one try in ten without.
_MAX_TRIES = 100


def go_live(store: EmbeddingStore, version: StoreVersion, *, known: Live | None) -> None:
    """Make a version live, with a revision that has the changes since.

    Args:
        known: what was live when the work on the version began, whose revision counts as read; None if nothing was.

    Raises:
        Conflict: another version was made live since, or changes that were read were dropped; nothing was published.
    """
    if known is None:
        make_live(store, version.version, known=None)
        return
    carried = CarriedRows(store, version, known)
    for _ in range(_MAX_TRIES):
        live = read_live(store)
        _require_same_version(store, live, known)
        try:
            carried.catch_up(live)
        except InvalidData:
            # A later revision may have merged the segments of this one, which are then removed.
            if read_live(store) == live:
                raise
            continue
        try:
            make_live(store, version.version, known=live, revision=carried.revision)
        except Conflict:
            continue
        return
    raise Conflict(f"{store.uri} was upserted to faster than version {version.version} could be made live")


def _require_same_version(store: EmbeddingStore, live: Live, known: Live) -> None:
    if (live.version, live.history, live.last) != (known.version, known.history, known.last):
        raise Conflict(f"{store.uri}/live.json was changed by another process meanwhile; nothing was published")
