"""Rows on their way into the files of one folder: bounded in bytes while they wait."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from indexer.service.event_log.log_folder import LogFolder
from indexer.service.event_log.log_rows import LogRow

if TYPE_CHECKING:
    import pyarrow as pa

_LOG = logging.getLogger(__name__)
# Rows become columns under the lock of the interpreter, and a request must not wait for all of them: by so many bytes,
# which takes under a millisecond, and with a pause after each.
_BYTES_AT_ONCE = 100_000
_PAUSE_SECONDS = 0.0005


class LogTable:
    """Rows that wait, once they are converted as columns, which take a quarter of the memory.

    Any thread may add some; one thread converts and writes.

    Args:
        max_bytes: beyond it rows are not taken in; those that wait stay until they are written.
    """

    def __init__(self, folder: LogFolder, max_bytes: int) -> None:
        self.folder = folder
        self._max_bytes = max_bytes
        self._rows = deque[LogRow]()
        self._batches: list[pa.RecordBatch] = []
        self._num_batched = self._batch_bytes = 0
        self._nbytes = 0  # of both
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Rows that wait."""
        return len(self._rows) + self._num_batched

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

    def convert(self) -> int:
        """Turn rows into columns, and return how many are lost, since Parquet cannot hold them."""
        lost = 0
        while rows := self._take():
            try:
                batch = self.folder.batch(rows)
            except Exception:  # they would fail again and again, and hold up all others
                _LOG.exception("%d rows of %s cannot be written as Parquet, and are lost", len(rows), self.folder.path)
                lost += len(rows)
            else:
                self._keep(batch)
            time.sleep(_PAUSE_SECONDS)
        return lost

    def write(self) -> None:
        """Write what is converted to one file.

        Raises:
            OSError, Conflict: as of `LogFolder.write`. What waits goes on to wait.
        """
        if self._batches:
            self.folder.write(self._batches)
            self._let_go()

    def _take(self) -> list[LogRow]:
        rows, nbytes = list[LogRow](), 0
        with self._lock:
            while self._rows and nbytes < _BYTES_AT_ONCE:
                rows.append(row := self._rows.popleft())
                nbytes += row.nbytes
            self._nbytes -= nbytes
        return rows

    def _keep(self, batch: pa.RecordBatch) -> None:
        nbytes = batch.nbytes
        self._batches.append(batch)
        self._num_batched += batch.num_rows
        self._batch_bytes += nbytes
        with self._lock:
            self._nbytes += nbytes

    def _let_go(self) -> None:
        with self._lock:
            self._nbytes -= self._batch_bytes
        self._batches.clear()
        self._num_batched = self._batch_bytes = 0
