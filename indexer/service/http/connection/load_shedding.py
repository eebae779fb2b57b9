"""Which requests are refused before anything is done for them, since the service is behind.

Past its capacity a service answers as many requests as at it only if those that it refuses cost next to nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from functools import lru_cache
from typing import Protocol

from indexer.service.engine.overload import Overloaded
from indexer.service.http.connection.loop_lag import LoopLag
from indexer.service.http.error_answers import error_answer
from indexer.service.http.errors import ErrorAnswer
from indexer.versions.version import StoreVersion

_LOG = logging.getLogger("ubm_embed.access")
# Of the timeout: how late the event loop may be.
_MAX_LAG = 0.05
# Requests that a loop which is later than that works on in one turn: about a tenth of a second. When a process has
# stood still for a moment, these are all that came meanwhile, and none is refused.
_WHILE_LATE = 256
# Of the timeout: how old a request may be when the event loop comes to work on it.
_MAX_AGE = 0.5
_LOG_SECONDS = 1.0
EVENTS = "/v1/events"
_OF_THE_ENGINE = {path.encode(): path for path in ("/v1/recommend", "/v1/predict", "/v1/lookup", "/v1/embeddings")}
_PRODUCTS, _SIMILAR = b"/v1/products/", "/v1/products/{product_id}/similar"


def route_of(method: bytes, path: bytes) -> str | None:
    """The route of requests that may be refused; None for all others, which are rare or have a queue of their own."""
    if path.startswith(_PRODUCTS):
        return _SIMILAR if method in (b"GET", b"HEAD") else None
    return EVENTS if path == EVENTS.encode() else _OF_THE_ENGINE.get(path)


def is_too_old(method: bytes, path: bytes, age: float, timeout: float) -> bool:
    """Whether a request that was read this many seconds ago is not worth a start."""
    return age > _MAX_AGE * timeout and route_of(method, path) is not None


@lru_cache(64)
def _answer(retry_after: int, version: int) -> ErrorAnswer:
    answer = error_answer(Overloaded(retry_after, "queue"))
    return replace(answer, headers=(*answer.headers, (b"x-ubm-version", b"%d" % version)))


class Room(Protocol):
    """What an engine says of the requests that wait for it."""

    @property
    def version(self) -> StoreVersion:
        """The live version."""

    @property
    def retry_after(self) -> int:
        """Whole seconds after which nothing of what waits now will wait."""

    def has_room(self, requests: int) -> bool:
        """Whether another request may wait after this many that are on their way."""


class SheddingObserver(Protocol):
    """Is told what is refused; must be quick and must not raise."""

    def request_shed(self, method: str, route: str) -> None:
        """A request was refused at once."""


class LoadShedder:
    """Decides which requests are refused at once. For the event loop's thread only.

    While the event loop is late, those are which are more than it can catch up with. While as many wait for the engine
    as may, those are which it would have to answer.

    Args:
        timeout: seconds of a request.
        lag: of the event loop.
    """

    def __init__(self, engine: Room, timeout: float, observer: SheddingObserver, lag: LoopLag | None = None) -> None:
        self._engine, self._observer = engine, observer
        self._lag, self._max_lag = lag or LoopLag(), _MAX_LAG * timeout
        # The loop reads all requests that have come before it works on any of them: these were let in.
        self._read = self._for_engine = 0
        self._shed, self._logged = 0, 0.0

    def refusal(self, method: bytes, path: bytes) -> ErrorAnswer | None:
        """What a request is answered that is refused; None for one that is not."""
        route = route_of(method, path)
        if route is None or (seconds := self._retry_after(route)) is None:
            return None
        self._observer.request_shed(method.decode("ascii"), route)
        self._shed += 1
        self._log()
        return _answer(seconds, self._engine.version.version)

    def _retry_after(self, route: str) -> int | None:
        if self._lag.seconds > self._max_lag and self._read >= _WHILE_LATE:
            return 1
        if route != EVENTS and not self._engine.has_room(self._for_engine):
            return self._engine.retry_after
        if not self._read:
            asyncio.get_running_loop().call_soon(self._work_begins)
        self._read += 1
        self._for_engine += route != EVENTS
        return None

    def _work_begins(self) -> None:
        self._read = self._for_engine = 0

    def _log(self) -> None:
        now = time.monotonic()
        if now > self._logged + _LOG_SECONDS:
            _LOG.warning("requests refused because of load", extra={"fields": {"status": 429, "requests": self._shed}})
            self._logged, self._shed = now, 0
