"""The parent of several workers: it starts them, replaces those that die, and passes signals on. It answers nothing."""

from __future__ import annotations

import contextlib
import gc
import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait

from indexer.service.processes.child import SIGNALS, Child, Lifeline, Parent, Ready
from ubm_embed.errors import Conflict, InvalidData, NotFound, UbmError

_LOG = logging.getLogger(__name__)
# In which a killed process is gone.
_KILL_SECONDS = 5.0
_ERRORS: dict[int, type[UbmError]] = {kind.exit_code: kind for kind in (InvalidData, NotFound, Conflict)}


class Supervisor:
    """Keeps as many workers as it was told to, and what they share.

    The first worker is started alone: if it does not answer, the service does not start. SIGTERM and SIGINT let the
    workers finish what they have; a second one ends everything at once. SIGHUP is passed on.

    Args:
        run_workers: what each worker does, until SIGTERM or until its `Parent` has gone; it reports `Ready` once.
        run_keeper: what a process does that all workers need, until it is killed; None without one.
        grace: seconds that workers have to finish and to close what they have open.
        on_ready: called once, when all workers answer.
        on_stop: called when they begin to finish.
        on_exit: called with the index of each worker that has ended.
    """

    def __init__(
        self,
        run_workers: Sequence[Callable[[Parent], None]],
        *,
        run_keeper: Callable[[Parent], None] | None = None,
        grace: float,
        on_ready: Callable[[Ready], None],
        on_stop: Callable[[], None],
        on_exit: Callable[[int], None],
    ) -> None:
        self._lifeline = Lifeline()
        self._workers = [Child(f"worker {number}", run, self._lifeline) for number, run in enumerate(run_workers)]
        self._keeper = None if run_keeper is None else Child("session keeper", run_keeper, self._lifeline)
        self._grace, self._on_ready, self._on_stop, self._on_exit = grace, on_ready, on_stop, on_exit
        self._is_ready = False
        self._stop_at: float | None = None

    def run(self) -> None:
        """Until SIGTERM or SIGINT, or until the first worker fails.

        Raises:
            UbmError: as the first worker said, or it died before it answered.
            KeyboardInterrupt: a second signal ended the workers before they had finished.
        """
        gc.freeze()  # a collection would write to pages that are shared with the workers
        with _wakeup() as signals:
            try:
                while self._stop_at is None or any(child.is_running for child in self._workers):
                    self._start_due()
                    self._wait(signals)
                    self._note_reports()
                    self._note_ends()
            finally:
                self._end()

    @property
    def _children(self) -> list[Child]:
        return [*([] if self._keeper is None else [self._keeper]), *self._workers]

    @property
    def _missing(self) -> list[Child]:
        """The children that should run and do not."""
        if self._stop_at is not None:
            return []
        # All other workers wait until the first one answers: so an error is told once, and what they map was read.
        later = () if self._is_ready or self._workers[0].ready else self._workers[1:]
        return [child for child in self._children if not child.is_running and child not in later]

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self._missing:
            if child.due <= now:
                child.start()

    def _wait(self, signals: socket.socket) -> None:
        """Wait until a child says something or ends, a signal arrives, or something is due."""
        moments = [*(child.due for child in self._missing), *([] if self._stop_at is None else [self._stop_at])]
        timeout = max(0.0, min(moments) - time.monotonic()) if moments else None
        handles = [signals, *(handle for child in self._children for handle in child.handles)]
        if signals in wait(handles, timeout):
            for number in signals.recv(64):
                self._act_on(number)
        if self._stop_at is not None and time.monotonic() >= self._stop_at:
            _LOG.error("workers that had not finished after %g s are killed", self._grace)
            self._send(signal.SIGKILL)
            self._stop_at += _KILL_SECONDS

    def _act_on(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._send(signal.SIGHUP)
        elif self._stop_at is None:
            self._on_stop()
            self._stop_at = time.monotonic() + self._grace
            self._send(signal.SIGTERM)
        else:
            raise KeyboardInterrupt

    def _send(self, number: int) -> None:
        for worker in self._workers:
            worker.send(number)

    def _note_reports(self) -> None:
        for child in self._children:
            child.read_reports()
        ready = [worker.ready for worker in self._workers]
        if self._stop_at is None and not self._is_ready and ready[0] is not None and all(ready):
            self._is_ready = True
            self._on_ready(ready[0])

    def _note_ends(self) -> None:
        for child in self._children:
            if not child.has_ended():
                continue
            if child is not self._keeper:
                self._on_exit(self._workers.index(child))
            if self._stop_at is not None:
                continue
            if not self._is_ready:
                raise _start_error(child)
            _LOG.warning("%s ended with code %s; the next one starts in %g s", child.name, child.exit_code, child.delay)

    def _end(self) -> None:
        """End what is left, which may not finish."""
        for child in self._children:
            child.send(signal.SIGKILL)
            if child.process is not None:
                child.process.join()
        self._lifeline.close()


def _start_error(child: Child) -> UbmError:
    """Why the service does not start."""
    failure = child.failure
    if failure is None:
        return UbmError(f"{child.name} ended with code {child.exit_code} before it answered")
    return _ERRORS.get(failure.exit_code, UbmError)(failure.message)


@contextlib.contextmanager
def _wakeup() -> Iterator[socket.socket]:
    """A socket that gets the number of each of `SIGNALS` that arrives, as a byte."""
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
        descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in before.items():
                signal.signal(number, handler)
