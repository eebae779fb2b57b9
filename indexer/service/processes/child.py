"""A process that the supervisor starts, and starts again when it dies."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Any, NamedTuple

from ubm_embed.errors import UbmError

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# A process that lives this long has started well: when it dies later, another one takes its place at once.
SETTLED_SECONDS = 10.0
FIRST_DELAY, MAX_DELAY = 0.5, 30.0

_LOG = logging.getLogger(__name__)
# Forked, since pages that are alike are then shared.
_FORK = get_context("fork")


class Ready(NamedTuple):
    """A worker answers.

    Attributes:
        version: of the store.
        products: how many it has.
    """

    version: int
    products: int


class Failed(NamedTuple):
    """A process ended by an error that a user can act on."""

    exit_code: int
    message: str


Report = Ready | Failed


class Parent(NamedTuple):
    """What a process knows about the supervisor.

    Attributes:
        report: tells it something.
        pid: its process id.
        lifeline: a file descriptor that comes to its end when the supervisor does.
    """

    report: Callable[[Report], None]
    pid: int
    lifeline: int


class Lifeline:
    """A pipe that nobody writes to: its end is how children learn that their parent is gone, however it ended."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def close(self) -> None:
        """Let the children go."""
        os.close(self.reader)
        os.close(self.writer)


class Child:
    """One process at a time.

    Args:
        name: for messages.
        run: what the process does until it ends. It begins with `SIGNALS` blocked.

    Attributes:
        process: the last one that was started.
        due: when the next one may start, by the monotonic clock, and
        delay: how long after the end of the last one that is, in seconds.
        ready: what the process said when it answered; None before.
        failure: what it said when it could not go on.
    """

    def __init__(self, name: str, run: Callable[[Parent], None], lifeline: Lifeline) -> None:
        self.name, self._run, self._lifeline = name, run, lifeline
        self.due, self.delay, self._started = 0.0, 0.0, 0.0
        self.ready: Ready | None = None
        self.failure: Failed | None = None
        self.process: ForkProcess | None = None
        self._reports: Connection | None = None

    @property
    def is_running(self) -> bool:
        """Whether a process was started and its end was not noted yet."""
        return self._reports is not None

    @property
    def process_id(self) -> int | None:
        """Of the last process that was started."""
        return None if self.process is None else self.process.pid

    @property
    def exit_code(self) -> int | None:
        """Of the last process, if it has ended; a negative one is the number of a signal."""
        return None if self.process is None else self.process.exitcode

    @property
    def handles(self) -> list[Any]:
        """What can be waited for: it says something, or it ends."""
        return [] if self._reports is None or self.process is None else [self._reports, self.process.sentinel]

    def start(self) -> None:
        """Start a process."""
        self.ready = self.failure = None
        self._reports, writer = _FORK.Pipe(duplex=False)
        parent = Parent(writer.send, os.getpid(), self._lifeline.reader)
        self.process = _FORK.Process(
            target=_main, args=(self._run, parent, self._lifeline.writer), name=self.name, daemon=True
        )
        # It inherits the mask, so that no signal meets it before it knows what to do.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            writer.close()
        self._started = time.monotonic()

    def send(self, number: int) -> None:
        """Send the process a signal, if there is one."""
        if self.is_running and self.process_id is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process_id, number)

    def read_reports(self) -> None:
        """Take what the process has said."""
        with contextlib.suppress(EOFError):
            while self._reports is not None and self._reports.poll():
                report = self._reports.recv()
                if isinstance(report, Ready):
                    self.ready = report
                else:
                    self.failure = report

    def has_ended(self) -> bool:
        """Whether the process has ended, noted once; then `due` says when another one may start."""
        if self._reports is None or self.process is None or self.process.is_alive():
            return False
        self.read_reports()
        self._reports.close()
        self._reports = None
        now = time.monotonic()
        settled = now - self._started >= SETTLED_SECONDS
        self.delay = 0.0 if settled else min(max(FIRST_DELAY, 2 * self.delay), MAX_DELAY)
        self.due = now + self.delay
        return True


def _main(run: Callable[[Parent], None], parent: Parent, lifeline_writer: int) -> None:
    """What a process does: the end of the lifeline that keeps it alive is the parent's alone."""
    os.close(lifeline_writer)
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    try:
        run(parent)
    except UbmError as error:
        parent.report(Failed(error.exit_code, str(error)))
        sys.exit(error.exit_code)
    except Exception as error:
        _LOG.exception("unexpected %s", type(error).__name__)
        parent.report(Failed(UbmError.exit_code, f"unexpected {type(error).__name__}: {error}"))
        sys.exit(UbmError.exit_code)
    finally:
        logging.shutdown()  # nothing else flushes the log of a process that was forked
