"""How far the event loop is behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

_INTERVAL = 0.05


class LoopLag:
    """Measures how late the event loop calls what is due, twenty times a second. For its thread only.

    That is how long a request waits before the loop reads it from its socket.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due: float | None = None
        self._measured = 0.0

    @property
    def seconds(self) -> float:
        """How late it was when it was last measured; the first call begins to measure."""
        if self._due is None:
            self.measure()
        return self._measured

    def measure(self) -> None:
        """Measure now, and again when the time has come."""
        now = self._clock()
        self._measured = 0.0 if self._due is None else max(0.0, now - self._due)
        self._due = now + _INTERVAL
        asyncio.get_running_loop().call_later(_INTERVAL, self.measure)
