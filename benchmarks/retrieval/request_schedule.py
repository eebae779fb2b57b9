"""The times at which requests arrive, independent of answers, and which worker takes which of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]


class RequestSchedule:
    """Requests that arrive at fixed times; first come, first served. Several threads may take them.

    Args:
        times: seconds after the start, ascending: [N].
        max_wait: workers are overloaded once a request has waited this many seconds for one of them.
        clock: seconds since some fixed moment.
        sleep: waits for this many seconds.
    """

    def __init__(
        self,
        times: Seconds,
        *,
        max_wait: float = 5.0,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.taken = 0
        self.overloaded = False
        self._times, self._max_wait = times, max_wait
        self._clock, self._sleep = clock, sleep
        self._started = clock()
        self._turn = threading.Lock()

    @classmethod
    def poisson(cls, rate: float, seconds: float, seed: int) -> RequestSchedule:
        """Arrivals at random, `rate` a second on average, for about `seconds`."""
        gaps = np.random.default_rng(seed).exponential(1 / rate, max(round(rate * seconds), 1))
        return cls(np.cumsum(gaps))

    def __len__(self) -> int:
        return len(self._times)

    @property
    def end(self) -> float:
        """The time at which the last request arrives."""
        return float(self._times[-1])

    def start(self) -> None:
        """Start the clock."""
        self._started = self._clock()

    def seconds(self) -> float:
        """Time since the start."""
        return self._clock() - self._started

    def take(self, max_requests: int) -> range:
        """The next waiting requests, at least one, after waiting for it; empty when all are taken or on overload."""
        with self._turn:
            first = self.taken
            if self.overloaded or first == len(self):
                return range(0)
            self._sleep(max(0.0, self._times[first] - self.seconds()))
            now = self.seconds()
            self.overloaded = bool(now - self._times[first] > self._max_wait)
            arrived = int(np.searchsorted(self._times, now, side="right"))
            self.taken = max(first + 1, min(arrived, first + max_requests))
            return range(first, self.taken)

    def latencies(self, requests: range) -> Seconds:
        """Seconds since the arrival of each of these requests: [len(requests)]."""
        latencies: Seconds = self.seconds() - self._times[requests.start : requests.stop]
        return latencies
