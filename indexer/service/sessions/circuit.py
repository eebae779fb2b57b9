"""A server that does not answer, and when it is asked again."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator

from indexer.service.sessions.session_store import SessionsBusy, SessionsUnavailable

_LOG = logging.getLogger(__name__)


class Circuit:
    """Spares requests the wait for a server that failed several times in a row: one of them tries, after each pause.

    Args:
        server: what it is called in the log, without a password.
        errors: exceptions that say that it failed.
        failures: in a row, after which it is left alone.
        pause: seconds between two attempts.
        late: a failure after more seconds than these says that this process is late, and nothing about the server.
        clock: seconds that never jump.
    """

    def __init__(
        self,
        server: str,
        errors: tuple[type[Exception], ...],
        *,
        failures: int = 3,
        pause: float = 1.0,
        late: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server, self._errors, self._max_failures = server, errors, failures
        self._pause, self._late, self._clock = pause, late, clock
        self._failures = 0
        self._next_attempt = 0.0

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Wraps one request to the server.

        Raises:
            SessionsUnavailable: the request failed, or was not made.
            SessionsBusy: it failed late.
        """
        self._begin()
        began = self._clock()
        try:
            yield
        except SessionsBusy:  # it answers others
            self._succeed()
            raise
        except self._errors as error:
            if self._clock() - began > self._late:
                raise SessionsBusy(f"requests to {self._server} are late") from None
            self._fail(error)
            raise SessionsUnavailable(f"{self._server} does not answer: {_kind(error)}") from None
        self._succeed()

    def _begin(self) -> None:
        if self._failures < self._max_failures:
            return
        now = self._clock()
        if now < self._next_attempt:
            raise SessionsUnavailable(f"{self._server} did not answer and is not asked now")
        self._next_attempt = now + self._pause  # the others wait for what this attempt finds

    def _fail(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == self._max_failures:
            self._next_attempt = self._clock() + self._pause
            _LOG.warning("%s does not answer (%s); sessions are unavailable", self._server, _kind(error))

    def _succeed(self) -> None:
        if self._failures >= self._max_failures:
            _LOG.warning("%s answers again", self._server)
        self._failures = 0


def _kind(error: Exception) -> str:
    """The kind of an error alone: its text may hold what was sent."""
    return type(error).__name__
