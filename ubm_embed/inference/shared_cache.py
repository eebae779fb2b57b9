"""A cache that several threads share, bounded in bytes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Sequence
from threading import Lock
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

_BYTES_PER_ENTRY = 150  # in a dictionary that is a third empty


class SharedCache(Generic[Key, Value]):
    """A cache for several threads.

    It has two generations, so that a hit is one look-up in a dictionary, without a lock or a list to reorder. What is
    used moves to the younger one; once that has half of the memory, the older one is dropped, and with it what was not
    used since. So what was used last, up to half of the memory, is always there.

    Args:
        max_bytes: of all keys and values; 0 keeps nothing.
    """

    def __init__(self, max_bytes: int) -> None:
        self._half = max_bytes // 2
        self._young: dict[Key, Value] = {}
        self._old: dict[Key, Value] = {}
        self._young_bytes = self._old_bytes = 0
        self._lock = Lock()

    @property
    def size(self) -> int:
        """The bytes of all keys and values, at most `max_bytes`."""
        return self._young_bytes + self._old_bytes

    def peek(self, key: Key) -> Value | None:
        """The value of a key if it is kept; asking does not count as a use."""
        value = self._young.get(key)
        return self._old.get(key) if value is None else value

    def get(self, keys: Sequence[Key], compute: Callable[[list[Key]], Sequence[Value]]) -> list[Value]:
        """The values of `keys`, in their order.

        Args:
            compute: called with the distinct keys that are not in the cache, unless there are none. Two threads may
                compute the same value at the same time.
        """
        try:
            return list(map(self._young.__getitem__, keys))
        except KeyError:
            return self._find_or_compute(keys, compute)

    def _find_or_compute(self, keys: Sequence[Key], compute: Callable[[list[Key]], Sequence[Value]]) -> list[Value]:
        distinct = list(dict.fromkeys(keys))
        with self._lock:
            values = {key: self._old[key] for key in distinct if key in self._old}
            values.update((key, self._young[key]) for key in distinct if key in self._young)
        missing = [key for key in distinct if key not in values]
        if missing:
            values.update(zip(missing, compute(missing), strict=True))
        with self._lock:
            for key in distinct:
                self._keep(key, values[key])
        return [values[key] for key in keys]

    def _keep(self, key: Key, value: Value) -> None:
        if key in self._young:
            return
        size = _bytes_of(key) + _bytes_of(value) + _BYTES_PER_ENTRY
        if size > self._half:
            return
        if self._young_bytes + size > self._half:
            self._old, self._old_bytes = self._young, self._young_bytes
            self._young, self._young_bytes = {}, 0
        self._young[key] = value
        self._young_bytes += size


def _bytes_of(value: object) -> int:
    """The memory of a string, an array that owns its data, or a tuple of such values."""
    return sys.getsizeof(value) + (sum(map(_bytes_of, value)) if isinstance(value, tuple) else 0)
