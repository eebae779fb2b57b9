"""A tracker in a thread of its own: a slow server does not slow training down, and a lost one does not end it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ubm_embed.progress import Notice, unsaid
from ubm_embed.training.tracking.tracker import RunStatus, Tracker

# Steps that may wait for the tracker: hours of training, some dozens of MB.
MAX_WAITING = 20_000
# How long the end of training waits for the tracker to send what is left.
MAX_SECONDS = 60.0
# As long as nobody wonders.
_SILENT_SECONDS = 2.0

_Call = Callable[[], None]


class BackgroundTracker:
    """Hands calls to a tracker's thread; after the first failure, to nobody.

    Attributes:
        failure: why it was given up, or None.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.failure: str | None = None
        self._calls: queue.Queue[_Call | None] = queue.Queue(MAX_WAITING)
        # A daemon, so that a server that does not answer cannot keep the process from ending.
        self._thread = threading.Thread(target=self._work, name=f"track-{tracker.name}", daemon=True)

    def start(self, settings: Mapping[str, Any], step: int, run_id: str | None, started: Callable[[str], None]) -> None:
        """As the tracker's; `started` is called with the run's id, in the thread."""
        self._put(lambda: started(self.tracker.start(settings, step, run_id)))
        self._thread.start()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """As the tracker's."""
        self._put(lambda: self.tracker.log(step, metrics))

    def finish(self, status: RunStatus, *, seconds: float = MAX_SECONDS, notice: Notice = unsaid) -> None:
        """As the tracker's; waits until it is done, for `seconds` at most, and says so where that takes long."""
        self._put(lambda: self.tracker.finish(status))
        self._put(None)
        self._thread.join(min(_SILENT_SECONDS, seconds))
        if self._thread.is_alive():
            notice(f"waiting up to {seconds:g} s for {self.tracker.name} to take what is left")
            self._thread.join(seconds)
        if self._thread.is_alive():
            self.failure = self.failure or f"it did not finish within {seconds:g} s"

    def _put(self, call: _Call | None) -> None:
        if self.failure is None:
            try:
                self._calls.put_nowait(call)
            except queue.Full:
                self.failure = f"{MAX_WAITING:,} steps wait for it"

    def _work(self) -> None:
        while self.failure is None and (call := self._calls.get()) is not None:
            try:
                call()
            except Exception as error:  # of any library, and of the network
                self.failure = f"{type(error).__name__}: {error}"
