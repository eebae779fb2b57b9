"""A cache that several threads share, of the entries that were used last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from threading import Lock
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class RecentlyUsed(Generic[Key, Value]):
    """Keeps `size` entries; the ones that were not used for longest go first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._entries: OrderedDict[Key, Value] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def found(self, keys: Iterable[Key]) -> dict[Key, Value]:
        """Those of `keys` that are kept; they count as used."""
        with self._lock:
            kept = {key: self._entries[key] for key in keys if key in self._entries}
            for key in kept:
                self._entries.move_to_end(key)
        return kept

    def keep(self, entries: Mapping[Key, Value]) -> None:
        """Add these, as used last."""
        with self._lock:
            for key, value in entries.items():
                self._entries[key] = value
                self._entries.move_to_end(key)
            while len(self._entries) > self.size:
                self._entries.popitem(last=False)
