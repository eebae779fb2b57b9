"""What is live in a store, as a reader looks for it, and why it does not answer."""

from __future__ import annotations

import time
from typing import NamedTuple

from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.live import Live
from indexer.versions.revision import version_label
from indexer.versions.version import StoreVersion, read_version

# Seconds between two looks at the manifest and the files of the version that answers, which a repair may replace.
_FULL_LOOK = 5.0


class LiveState(NamedTuple):
    """The content of live.json, and the manifest of the version that is live; None for what cannot be read."""

    live: Live | None = None
    version: StoreVersion | None = None

    def with_manifest(self, store: EmbeddingStore) -> LiveState:
        """The same with the manifest, read now."""
        return self if self.live is None else LiveState(self.live, read_version(store, self.live.version))

    @property
    def label(self) -> str:
        """The version and its revision as people write them."""
        return (
            "what is live" if self.live is None else f"version {version_label(self.live.version, self.live.revision)}"
        )


class Look(NamedTuple):
    """What was live and answered, and when that was seen."""

    live: Live | None
    moment: float

    def still_holds(self, live: Live | None) -> bool:
        """Whether live.json says that nothing has changed, while manifest and files were looked at lately."""
        return live is not None and live == self.live and time.monotonic() - self.moment < _FULL_LOOK


NO_LOOK = Look(None, 0.0)


class Failure(NamedTuple):
    """What did not open, why, and when."""

    state: LiveState
    kind: type[Exception]
    moment: float

    def is_like(self, other: Failure | None) -> bool:
        """Whether the same did not open before for the same reason."""
        return other is not None and (self.state, self.kind) == (other.state, other.kind)

    def is_due(self, state: LiveState, seconds: float) -> bool:
        """Whether it may be tried: something else at once, the same after a while."""
        return state != self.state or time.monotonic() - self.moment >= seconds
