"""Rows that wait to be written, bounded in bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from itertools import islice

from indexer.service.event_log.log_rows import LogRow


class RowBuffer:
    """Rows that wait to be written. Any thread may add some, one thread takes them.

    Args:
        max_bytes: beyond it rows are not taken in; those that are there stay until they are removed.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._rows: list[LogRow] = []
        self._nbytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Rows that wait."""
        return len(self._rows)

    @property
    def is_half_full(self) -> bool:
        """Whether what waits takes half of the memory."""
        return 2 * self._nbytes >= self._max_bytes

    def add(self, rows: Iterable[LogRow]) -> int:
        """Take rows in, and return how many had no room."""
        refused = 0
        with self._lock:
            for row in rows:
                if self._nbytes + row.nbytes > self._max_bytes:
                    refused += 1
                else:
                    self._rows.append(row)
                    self._nbytes += row.nbytes
        return refused

    def first(self, count: int) -> list[LogRow]:
        """The oldest rows, which stay."""
        with self._lock:
            return list(islice(self._rows, count))

    def remove(self, count: int) -> None:
        """Let go of the oldest rows."""
        with self._lock:
            self._nbytes -= sum(row.nbytes for row in islice(self._rows, count))
            del self._rows[:count]
