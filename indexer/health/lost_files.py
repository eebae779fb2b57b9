"""What is said of a file that nothing else has, and that a repair cannot write again."""

from __future__ import annotations

from indexer.store.embedding_store import EmbeddingStore


def lost_kept(number: int) -> str:
    """The notice that nothing says any more which products were newer than a version's catalogue."""
    return f"what was newer than the catalogue of version {number} is no longer known: the same catalogue would undo it"


def lost_counts(store: EmbeddingStore, number: int, earlier: int | None = None) -> str:
    """The notice that nothing says any more what shoppers did next in a version.

    Args:
        earlier: the version whose counts it has now; None if it answers without.
    """
    now = "it answers without" if earlier is None else f"it has those of version {earlier}"
    again = f"ubm-embed refresh --interactions FILE --products FILE --store {store.uri}"
    return f"the counts of version {number} are lost: {now}; to count anew, type: {again}"
