"""A cache that several threads share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from threading import Lock
from typing import Generic, TypeVar

from cachetools import LRUCache

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class SharedCache(Generic[Key, Value]):
    """A cache of the entries that were used last, for several threads.

    Args:
        max_entries: 0 keeps nothing.
    """

    def __init__(self, max_entries: int) -> None:
        self.entries: LRUCache[Key, Value] = LRUCache(max_entries)
        self._lock = Lock()

    def get(self, keys: Sequence[Key], compute: Callable[[list[Key]], Sequence[Value]]) -> list[Value]:
        """The values of `keys`, in their order.

        Args:
            compute: called with the distinct keys that are not in the cache, unless there are none. Two threads may
                compute the same value at the same time.
        """
        with self._lock:
            values = {key: self.entries[key] for key in dict.fromkeys(keys) if key in self.entries}
        missing = [key for key in dict.fromkeys(keys) if key not in values]
        if missing:
            computed = dict(zip(missing, compute(missing), strict=True))
            values.update(computed)
            self._add(computed)
        return [values[key] for key in keys]

    def _add(self, values: dict[Key, Value]) -> None:
        if self.entries.maxsize:  # an LRUCache refuses an entry that is larger than itself
            with self._lock:
                self.entries.update(values)
