"""How far the event loop is behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

_INTERVAL = 0.05
# Less is no reason to act: a garbage collection may take as long.
_LATE = 0.1


class LoopLag:
    """Measures how late the event loop calls what is due, twenty times a second. For its thread only.

    That is how long a request waits before the loop reads it from its socket.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due: float | None = None
        self._late_since: float | None = None

    @property
    def late_for(self) -> float:
        """For how many seconds it has been late whenever it was measured; the first call begins to measure.

        Of a process that stood still for once this is 0: it has caught up in its next turn.
        """
        if self._due is None:
            self.measure()
        return 0.0 if self._late_since is None else self._clock() - self._late_since

    def measure(self) -> None:
        """Measure now, and again when the time has come."""
        now = self._clock()
        if self._due is None or now - self._due <= _LATE:
            self._late_since = None
        elif self._late_since is None:
            self._late_since = now
        self._due = now + _INTERVAL
        asyncio.get_running_loop().call_later(_INTERVAL, self.measure)
