"""When requests arrive, and who takes which of them: random times that do not wait for answers."""

from __future__ import annotations

import threading
import time

import numpy as np
from numpy.typing import NDArray

# Workers do not keep up when a request has waited so many seconds for one.
_BEHIND = 5.0

Seconds = NDArray[np.float64]


class RequestSchedule:
    """Requests that arrive at set times; first come, first served. Several threads may take them.

    Args:
        times: seconds after the start, rising: [N].
    """

    def __init__(self, times: Seconds) -> None:
        self.taken = 0
        self.behind = False
        self._times = times
        self._started = time.perf_counter()
        self._turn = threading.Lock()

    @classmethod
    def poisson(cls, rate: float, seconds: float, seed: int) -> RequestSchedule:
        """At random, so many a second."""
        gaps = np.random.default_rng(seed).exponential(1 / rate, max(round(rate * seconds), 1))
        return cls(np.cumsum(gaps))

    def __len__(self) -> int:
        return len(self._times)

    @property
    def end(self) -> float:
        """When the last one arrives."""
        return float(self._times[-1])

    def start(self) -> None:
        """Count from now on."""
        self._started = time.perf_counter()

    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._started

    def take(self, most: int) -> range:
        """The next that wait, at least one; waits for it. None once all are taken, or once workers are behind."""
        with self._turn:
            first = self.taken
            if self.behind or first == len(self):
                return range(0)
            time.sleep(max(0.0, self._times[first] - self.seconds()))
            now = self.seconds()
            self.behind = bool(now - self._times[first] > _BEHIND)
            here = int(np.searchsorted(self._times, now, side="right"))
            self.taken = max(first + 1, min(here, first + most))
            return range(first, self.taken)

    def waited(self, requests: range) -> Seconds:
        """Seconds since each of these was to arrive."""
        waited: Seconds = self.seconds() - self._times[requests.start : requests.stop]
        return waited
