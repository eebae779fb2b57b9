"""A handler of log records that writes many lines at once, and lets nobody wait for them.

Each write lets another thread have the interpreter; the event loop then waits up to five milliseconds to get it back.
And a pipe that nobody reads is soon full: a write to it would then wait for ever.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from typing import TextIO

from indexer.service.http.telemetry.log_output import LogOutput

_SECONDS = 0.1
_MAX_LINES = 10_000
_LAST_SECONDS = 1.0


class BatchedHandler(logging.Handler):
    """Writes lines ten times a second, from a thread of its own, and those of warnings and errors at once.

    While nobody reads them up to ten thousand lines wait, and later ones are lost: a line says how many. A process that
    is killed loses the lines of its last tenth of a second.

    Args:
        forks: whether this process forks, and must not have threads: it then writes its lines itself, while its
            children have a thread each.
    """

    def __init__(self, stream: TextIO, *, forks: bool = False) -> None:
        super().__init__()
        self._stream = stream
        self._begin(forks)
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self, forks: bool = False) -> None:
        self._forks = forks
        self._output = LogOutput(self._stream)
        self._lines: deque[bytes] = deque()  # what waits when it forks is the parent's to write
        self._lost = 0
        self._waits, self._urgent = threading.Event(), threading.Event()
        self._writing, self._starting = threading.Lock(), threading.Lock()
        self._thread: threading.Thread | None = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record, if the filters let it through. Formatting and taking need no lock."""
        if not self.filter(record):
            return False
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        if len(self._lines) >= _MAX_LINES:
            self._lost += 1
            return
        try:
            if self._lost:
                self._lines.append(self._line_about_losses())
            self._lines.append(self._line(record))
        except Exception:
            self.handleError(record)
        if self._forks:
            self._write(0.0)
        else:
            self._wake(record.levelno >= logging.WARNING)

    def flush(self) -> None:
        """Write what waits, as far as it can be written now."""
        self._write(0.0)

    def close(self) -> None:
        """Write what waits, for which the reader has a second."""
        self._write(_LAST_SECONDS)
        super().close()

    def _line(self, record: logging.LogRecord) -> bytes:
        return f"{self.format(record)}\n".encode()

    def _line_about_losses(self) -> bytes:
        lost, self._lost = self._lost, 0
        message = f"nobody read the log, and {lost:,} of its lines are lost"
        return self._line(logging.LogRecord(__name__, logging.WARNING, "", 0, message, None, None))

    def _write(self, seconds: float) -> bool:
        """Whether all that waits was written."""
        if not self._writing.acquire(timeout=_LAST_SECONDS):
            return False
        try:
            return self._output.write(self._lines, seconds)
        finally:
            self._writing.release()

    def _wake(self, urgent: bool) -> None:
        if urgent:
            self._urgent.set()
        self._waits.set()
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._waits.wait()
            self._urgent.wait(_SECONDS)
            self._urgent.clear()
            self._waits.clear()
            if not self._write(_SECONDS):
                self._waits.set()
