"""Answers that were given: remembered for the events that come back, and logged, behind the requests."""

from __future__ import annotations

import asyncio
import logging
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, replace

from indexer.search.answer import Answer
from indexer.search.resolution import EMPTY
from indexer.service.http.random_bytes import random_bytes
from indexer.service.http.telemetry.metrics import Metrics
from indexer.service.service import Service
from indexer.service.sessions.session_store import SessionsUnavailable, ShownAnswer

_LOG = logging.getLogger(__name__)
# Beyond it the sessions are slower than the answers.
_MAX_WAITING = 1_000


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """An answer on its way to a client.

    Attributes:
        answer_id: 128 random bits, so that nobody can name the answer of somebody else.
        arm: of the experiment; "" without one.
        teams: of an interleaved answer, which list each match is from; else empty.
    """

    answer: Answer
    answer_id: str
    arm: str = ""
    teams: tuple[int, ...] = ()

    def without_session(self, reason: str) -> GivenAnswer:
        """The same, with the reason why there is no session; that it is empty is not what the shop wants to know."""
        fallback = (self.answer.fallback or EMPTY).replace(EMPTY, reason)
        return replace(self, answer=replace(self.answer, fallback=fallback))


def new_answer_id() -> str:
    """128 random bits as text."""
    return urlsafe_b64encode(random_bytes.take(16)).rstrip(b"=").decode()


class ShownAnswers:
    """Remembers answers without making their requests wait.

    One that cannot be remembered loses its outcomes, and nothing else.
    """

    def __init__(self, service: Service, metrics: Metrics) -> None:
        self._service, self._metrics = service, metrics
        self._waiting: set[asyncio.Task[None]] = set()

    def add(self, given: GivenAnswer, k: int) -> None:
        """Remember an answer for its session, if it has one, and log it.

        Args:
            k: matches that were requested.
        """
        answer = given.answer
        ids = tuple(match.product_id for match in answer.matches)
        shown = ShownAnswer(given.answer_id, time.time(), answer.version, given.arm, ids, given.teams)
        if self._service.event_log is not None:
            self._service.event_log.add_answer(answer.session_id, shown, answer, k)
        if answer.session_id is not None:
            self._metrics.answer(answer.version, given.arm)
            self._remember(answer.session_id, shown)

    def _remember(self, session_id: str, shown: ShownAnswer) -> None:
        if len(self._waiting) >= _MAX_WAITING:
            self._metrics.sessions_unavailable()
            return
        task = asyncio.get_running_loop().create_task(self._add(session_id, shown))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _add(self, session_id: str, shown: ShownAnswer) -> None:
        try:
            await self._service.sessions.add_answer(session_id, shown)
        except SessionsUnavailable:
            self._metrics.sessions_unavailable()
        except Exception:
            _LOG.exception("an answer was not remembered")
