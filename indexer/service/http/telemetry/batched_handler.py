"""A handler of log records that writes many lines at once.

Each write lets another thread have the interpreter; the event loop then waits up to five milliseconds to get it back.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from typing import TextIO

_SECONDS = 0.1
_MAX_LINES = 1_000


class BatchedHandler(logging.Handler):
    """Writes lines ten times a second, from a thread of its own; warnings and errors, and what waits, at once.

    A process that is killed loses the lines of its last tenth of a second.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: deque[str] = deque()
        self._begin()
        os.register_at_fork(after_in_child=self._begin)  # what waits is the parent's to write

    def _begin(self) -> None:
        self._lines.clear()
        self._writing, self._waits = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record, if the filters let it through. Formatting and taking need no lock."""
        if not self.filter(record):
            return False
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        try:
            self._lines.append(self.format(record))
        except Exception:
            self.handleError(record)
        if record.levelno >= logging.WARNING or len(self._lines) >= _MAX_LINES:
            self.flush()
        elif not self._waits.is_set():
            self._waits.set()
            self._run_thread()

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            text = "".join(f"{self._lines.popleft()}\n" for _ in range(len(self._lines)))
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):  # a full disk or a closed stream is no reason to stop
                pass

    def _run_thread(self) -> None:
        with self._writing:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._waits.wait()
            time.sleep(_SECONDS)
            self._waits.clear()
            self.flush()
