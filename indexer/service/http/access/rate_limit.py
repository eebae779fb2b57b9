"""How much a key may ask for: a bucket of tokens for each key."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from indexer.service.http.access.key import Key
from indexer.service.http.access.keys import MAX_KEYS
from indexer.service.http.errors import RequestError, retry_after


class RateLimits:
    """Admits the requests of each key at its rate.

    A request is admitted while its key has a token, and costs one for each session that it asks about, at least one. A
    batch may cost more than is left; its key then waits until the debt is paid. So single requests and batches come at
    the same sessions a second, and no batch is too large for ever.

    Each of several workers has its own buckets, of its share of the rate.

    Args:
        workers: processes that share the requests.
        clock: seconds.
    """

    def __init__(self, workers: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self._workers, self._clock = workers, clock
        self._buckets: dict[Key, _Bucket] = {}

    def admit(self, key: Key | None) -> None:
        """Take one token.

        Raises:
            RequestError: 429 with the seconds until the next token.
        """
        if key is None or key.rate is None:
            return
        wait = self._bucket(key, key.rate).take(self._clock())
        if wait > 0:
            seconds = math.ceil(wait)
            message = f"too many requests with the key {key.name!r}; ask again in {seconds} s"
            raise RequestError(429, "rate_limited", message, retry_after(seconds))

    def charge(self, key: Key | None, sessions: int) -> None:
        """Take the tokens of further sessions of a request that was admitted."""
        if sessions > 0 and key is not None and key.rate is not None:
            self._bucket(key, key.rate).tokens -= sessions

    def __len__(self) -> int:
        """How many buckets there are."""
        return len(self._buckets)

    def _bucket(self, key: Key, rate: float) -> _Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= 2 * MAX_KEYS:  # of keys that were since replaced
                self._buckets.clear()
            burst = max(1.0, key.burst / self._workers)
            bucket = self._buckets[key] = _Bucket(rate / self._workers, burst, self._clock())
        return bucket


class _Bucket:
    """Tokens, which may be fewer than 0."""

    __slots__ = ("_burst", "_filled", "_rate", "tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst, self._filled = rate, burst, now
        self.tokens = burst

    def take(self, now: float) -> float:
        """Take a token and return 0, or the seconds until there is one."""
        elapsed = max(0.0, now - self._filled)
        self.tokens = min(self._burst, self.tokens + elapsed * self._rate)
        self._filled = now
        if self.tokens < 1:
            return (1 - self.tokens) / self._rate
        self.tokens -= 1
        return 0.0
