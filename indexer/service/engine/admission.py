"""Whether a request may wait: one rule for all of them, by what waits and how fast it is worked off."""

from __future__ import annotations

import math
from collections.abc import Callable

from indexer.service.engine.overload import Overloaded
from indexer.service.engine.work import SESSIONS_A_TURN

# Of the timeout: a request waits if its turn is expected within it. The rest is for answering, and for wrong guesses.
_MAX_WAIT = 0.5
# Seconds after which a measurement counts for a third.
_MEMORY = 3.0
_MAX_RETRY_AFTER = 60


class DrainRate:
    """Sessions that a thread works off in a second of work, over the last seconds in which it worked.

    Time without work does not count: with few requests it would say how few they are.
    """

    def __init__(self) -> None:
        self._sessions = self._seconds = 0.0

    def add(self, sessions: int, seconds: float) -> None:
        """Count sessions that were worked off together."""
        left = math.exp(-seconds / _MEMORY)
        self._sessions = left * self._sessions + sessions
        self._seconds = left * self._seconds + seconds

    def seconds_for(self, sessions: int) -> float:
        """How long sessions will take; 0 before anything was measured."""
        return sessions * self._seconds / self._sessions if self._sessions else 0.0


class Queue:
    """The sessions that wait for one thread, and how fast it works them off.

    Attributes:
        waiting: sessions.
        next_turns: those of them that a request which comes now will wait for, if one turn is enough for it.
    """

    def __init__(self) -> None:
        self.waiting = self.next_turns = 0
        self.rate = DrainRate()

    @property
    def seconds(self) -> float:
        """How long what waits will take."""
        return self.rate.seconds_for(self.waiting)

    def seconds_until(self, sessions: int, ahead: int) -> float:
        """How long it will take until a request of this many sessions has had its last turn but for its own work.

        Args:
            ahead: sessions that will come before it.
        """
        before = self.next_turns if sessions <= SESSIONS_A_TURN else self.waiting
        return self.rate.seconds_for(before + ahead)

    @property
    def retry_after(self) -> int:
        """Whole seconds after which it will be empty, from 1 to 60."""
        return max(1, min(math.ceil(self.seconds), _MAX_RETRY_AFTER))


class Admission:
    """Decides which requests may wait. For the event loop's thread only.

    Args:
        max_waiting: sessions that may wait in all queues together. A request that comes when nothing waits is admitted
            whatever its size.
        timeout: seconds. A request is refused if it would wait for more than half of them, or if it would be too old
            when its turn comes.
        report: is told how many sessions wait, after each change.
    """

    def __init__(self, max_waiting: int, timeout: float, report: Callable[[int], None]) -> None:
        self._max_waiting, self._timeout, self._report = max_waiting, timeout, report
        self.waiting = 0

    def has_room(self, sessions: int, queue: Queue, age: float = 0.0, ahead: int = 0) -> bool:
        """Whether a request of this many sessions may wait in a queue.

        Args:
            age: seconds since it arrived.
            ahead: sessions that will have been admitted before it.
        """
        waiting = self.waiting + ahead
        if not waiting:
            return True
        wait = queue.seconds_until(sessions, ahead)
        in_time = wait <= _MAX_WAIT * self._timeout and age + wait <= self._timeout
        return in_time and waiting + sessions <= self._max_waiting

    def admit(self, sessions: int, queue: Queue, age: float = 0.0, *, turn: int | None = None) -> None:
        """Let a request wait in a queue; other arguments as of `has_room`.

        Args:
            turn: how many of its sessions are worked off in one turn; all if it is left out.

        Raises:
            Overloaded: too much waits already.
        """
        if not self.has_room(sessions, queue, age):
            raise Overloaded(queue.retry_after, "queue")
        self._change(queue, sessions, sessions if turn is None else turn)

    def finish(self, sessions: int, queue: Queue, *, turn: int | None = None) -> None:
        """A request waits no longer; arguments as of `admit`."""
        self._change(queue, -sessions, -(sessions if turn is None else turn))

    def _change(self, queue: Queue, sessions: int, turn: int) -> None:
        self.waiting += sessions
        queue.waiting += sessions
        queue.next_turns += turn
        self._report(self.waiting)
