"""Files that several retrievers read, closed with the last of them."""

from __future__ import annotations

from threading import Lock
from typing import Self

from indexer.catalogue.catalogue import Catalogue


class SharedFiles:
    """The files of a catalogue, which has one reader at first. Several threads may use it."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._readers, self._lock = 1, Lock()

    def shared(self) -> Self:
        """The same files for another reader."""
        with self._lock:
            self._readers += 1
        return self

    def release(self) -> None:
        """Close the files if no other reader has them; each reader calls it once."""
        with self._lock:
            self._readers -= 1
            is_last = not self._readers
        if is_last:
            self._catalogue.close()
