"""The thread's side of changes of products: they become a revision of the live version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from indexer.search.live_retriever import LiveRetriever
from indexer.service.updates.joined_changes import Outcome, publish_joined
from indexer.service.updates.product_change import ProductChange
from indexer.updates.limits import LimitReached
from ubm_embed.errors import Conflict, NotFound

if TYPE_CHECKING:
    from indexer.updates.updater import Updater
    from ubm_embed.inference.embedder import Embedder


class StoreNotWritten(Exception):  # noqa: N818 - says what happened
    """A store that cannot be reached or written: it is mounted to be read only, full, or gone."""


class ProductPublisher:
    """Publishes changes of products as revisions of the live version of a store. For one thread.

    What that takes is imported and opened for the first change: most services only read.

    Args:
        store: path or URI.
        live: whose model encodes products.
    """

    def __init__(self, store: str, live: LiveRetriever) -> None:
        self._store, self._live = store, live
        self._updater: Updater | None = None
        self._embedder: Embedder | None = None

    def publish(self, changes: Sequence[ProductChange]) -> list[Outcome]:
        """For each change its report or its error, as of `publish_joined`."""
        return [_translated(outcome) for outcome in publish_joined(self._current_updater(), changes)]

    def close(self) -> None:
        """Let go of what was opened."""
        if self._updater is not None:
            self._updater.close()

    def _current_updater(self) -> Updater:
        """One with the model that answers, so that no model is in memory twice."""
        from indexer.updates.updater import Updater

        with self._live.borrow() as retriever:
            embedder = retriever.embedder
        if self._updater is None or embedder is not self._embedder:
            self.close()
            self._updater, self._embedder = Updater(self._store, embedder=embedder), embedder
        return self._updater


def _translated(outcome: Outcome) -> Outcome:
    """An error as clients may see it: they know no files, and the log has the cause."""
    if isinstance(outcome, (OSError, NotFound)):
        error: Exception = StoreNotWritten(str(outcome))
    elif isinstance(outcome, Conflict) and not isinstance(outcome, LimitReached):
        error = Conflict("other writers were always first; nothing was changed; send it again")
    else:
        return outcome
    error.__cause__ = outcome
    return error
