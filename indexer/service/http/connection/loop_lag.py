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
        self._last = 0.0

    @property
    def seconds(self) -> float:
        """How late it was when it was last measured, or is by now; 0 at the first call, which begins to measure."""
        if self._due is None:
            self._tick()
            return 0.0
        return max(self._last, self._clock() - self._due)

    def _tick(self) -> None:
        now = self._clock()
        self._last = 0.0 if self._due is None else max(0.0, now - self._due)
        self._due = now + _INTERVAL
        asyncio.get_running_loop().call_later(_INTERVAL, self._tick)
