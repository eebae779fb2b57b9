"""Events and answers on their way into Parquet files. Requests neither wait for the disk nor hear of its troubles."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from indexer.search.answer import Answer
from indexer.service.event_log.log_folder import LogFolder
from indexer.service.event_log.log_rows import ANSWER_COLUMNS, EVENT_COLUMNS, LogRow, answer_row, event_row
from indexer.service.event_log.log_table import LogTable
from indexer.service.sessions.event import Event
from indexer.service.sessions.session_store import ShownAnswer
from indexer.service.settings import ServiceSettings

_LOG = logging.getLogger(__name__)
_MAX_BYTES = 64 << 20
_RETRY_SECONDS = 5.0
_CLOSE_SECONDS = 10.0


class EventLogObserver(Protocol):
    """Is told of losses, for metrics. Any thread may call it; it must be quick and must not raise."""

    def event_log_failed(self) -> None:
        """A file could not be written; its rows wait."""

    def event_log_dropped(self, number: int) -> None:
        """This many events or answers are lost."""


class EventLog:
    """Writes events to DIR/events and answers to DIR/answers.

    What is added waits in memory until a file is written: after some seconds, or when half of the memory is used. While
    the disk refuses, it waits and is tried again; when all of the memory is used, what comes is lost, and counted.
    A process that is killed loses what waits.

    Args:
        folder: DIR; made if it is not there.
        seconds: between two files.
        max_bytes: of memory, for events and for answers each.
        retry_seconds: after a failure.

    Attributes:
        failures: files that could not be written.
        dropped: events and answers that are lost.
    """

    def __init__(
        self,
        folder: Path,
        seconds: float,
        observer: EventLogObserver | None = None,
        *,
        max_bytes: int = _MAX_BYTES,
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        import pyarrow.parquet

        pyarrow.array([""])  # imports pandas if it is there; now, since all of this takes as long as a hundred answers
        self.failures = self.dropped = 0
        self._seconds, self._retry_seconds, self._observer = seconds, min(retry_seconds, seconds), observer
        self._events = LogTable(LogFolder(folder / "events", EVENT_COLUMNS), max_bytes)
        self._answers = LogTable(LogFolder(folder / "answers", ANSWER_COLUMNS), max_bytes)
        self._tables = (self._events, self._answers)
        self._failing = self._closed = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="event log", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, settings: ServiceSettings, observer: EventLogObserver | None = None) -> EventLog:
        """The log that the settings name. If its folder cannot be written to, it says so, and tries again."""
        assert settings.event_log is not None
        return cls(settings.event_log, settings.event_log_seconds, observer)

    def add_events(self, session_id: str, events: Iterable[Event]) -> None:
        """Log events of a session, from any thread."""
        self._add(self._events, [event_row(session_id, event) for event in events])

    def add_answer(self, session_id: str | None, shown: ShownAnswer, answer: Answer, k: int) -> None:
        """Log an answer, from any thread.

        Args:
            k: matches that were requested.
        """
        self._add(self._answers, [answer_row(session_id, shown, answer, k)])

    def close(self) -> None:
        """Write what waits, in `_CLOSE_SECONDS` at most; what comes later is lost."""
        self._closed = True
        self._wake.set()
        self._thread.join(_CLOSE_SECONDS)
        if left := self._waiting:
            _LOG.error("the event log is closed, and %d events and answers are lost", left)
            self._drop(left)

    def _add(self, table: LogTable, rows: Sequence[LogRow]) -> None:
        refused = len(rows) if self._closed else table.add(rows)
        if refused:
            self._drop(refused)
        if table.is_half_full and not self._failing:
            self._wake.set()

    def _run(self) -> None:
        self._begin()
        while not self._closed:
            self._wake.wait(self._retry_seconds if self._failing else self._seconds)
            self._wake.clear()
            self._write()
        self._write()  # what came between the last look and the end

    def _begin(self) -> None:
        """Say at once if the folder cannot be written to, not only when there is something to write."""
        with contextlib.suppress(OSError):
            for table in self._tables:
                table.folder.clean()
        try:
            self._require_writable()
        except Exception as error:
            self._fail(error)

    def _write(self) -> None:
        for table in self._tables:
            if lost := table.convert():
                self._drop(lost)
        try:
            if self._failing:
                self._require_writable()
            for table in self._tables:
                table.write()
        except Exception as error:  # whatever it is, it must not end the thread
            self._fail(error)
            return
        if self._failing:
            _LOG.warning("the event log is written again; %d events and answers are lost", self.dropped)
        self._failing = False

    def _require_writable(self) -> None:
        for table in self._tables:
            table.folder.require_writable()

    def _fail(self, error: Exception) -> None:
        self.failures += 1
        if not self._failing:
            _LOG.error(
                "the event log cannot be written: %s; answers go on, %d events and answers wait", error, self._waiting
            )
        self._failing = True
        if self._observer is not None:
            self._observer.event_log_failed()

    @property
    def _waiting(self) -> int:
        return sum(map(len, self._tables))

    def _drop(self, number: int) -> None:
        self.dropped += number
        if self._observer is not None:
            self._observer.event_log_dropped(number)
