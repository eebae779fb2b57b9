"""A cache whose values are slow to make and large, shared by threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

from cachetools import LRUCache

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

# What an entry takes beside its value, its key among it.
_ENTRY_BYTES = 2**12


class SingleFlightCache(Generic[Key, Value]):
    """Keeps the values that were used last, within a number of bytes, but at least one.

    A value that several threads want at once is computed once, while other values are computed beside it.

    Args:
        max_bytes: for all values together.
        size_of: bytes of a value.
    """

    def __init__(self, max_bytes: int, size_of: Callable[[Value], int]) -> None:
        self._max_bytes = max_bytes
        self._kept: LRUCache[Key, Value] = LRUCache(math.inf, lambda value: size_of(value) + _ENTRY_BYTES)
        self._computing: dict[Key, Future[Value]] = {}
        self._lock = Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of the values that are kept."""
        return int(self._kept.currsize)

    def get(self, key: Key, compute: Callable[[], Value]) -> Value:
        """The value of a key, computed unless it is kept. An error of `compute` is raised for all who wait for it."""
        with self._lock:
            if key in self._kept:
                return self._kept[key]
            future = self._computing.get(key)
            if mine := future is None:
                future = self._computing[key] = Future()
        return self._compute(key, future, compute) if mine else future.result()

    def _compute(self, key: Key, future: Future[Value], compute: Callable[[], Value]) -> Value:
        try:
            value = compute()
        except BaseException as error:
            with self._lock:
                del self._computing[key]
            future.set_exception(error)
            raise
        with self._lock:
            del self._computing[key]
            self._kept[key] = value
            while self._kept.currsize > self._max_bytes and len(self._kept) > 1:
                self._kept.popitem()
        future.set_result(value)
        return value
