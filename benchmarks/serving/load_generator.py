"""An open-loop load generator: requests are sent when they are due, whether or not earlier ones have been answered.

A latency runs from the moment at which a request was due, so that a server that stalls is charged for everyone who
arrives meanwhile (no coordinated omission). The generator is one thread around `epoll`; it records how late it was
itself, and how much of its core it took.
"""

from __future__ import annotations

import gc
import select
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.connection import Connection, ConnectionLostError, status_of

Seconds = NDArray[np.float64]
Step = tuple[bytes, ...]
"""What a shopper asks at once: requests, each sent when the one before was answered with 200."""

OK, LOST, UNANSWERED = 200, 0, -1
_MAX_EVENTS = 1024


def poisson_arrivals(rate: float, seconds: float, seed: int) -> Seconds:
    """Times at which steps arrive at random, `rate` a second on average, for about `seconds`: [N], ascending."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, max(round(rate * seconds), 1))
    return np.cumsum(gaps)


@dataclass(frozen=True)
class Load:
    """What became of N steps and their R requests; times are seconds after the start.

    Attributes:
        due: [N] when each step arrived.
        lag: [N] how much later its first request was sent.
        step, sent, done, status: [R] of each request: its step, when it could be sent first, when its answer was
            complete (NaN without one), and the answer's status; `LOST` without an answer, `UNANSWERED` if it still
            waited at the end.
        answers: head and body of each answer, in the order of the requests, if they were to be kept.
        reconnects: requests that were sent again, as the connection had just been closed.
        connections: opened in all.
        cpu, wall: seconds of the generator itself.
        started: when it started, by the system's monotonic clock.
    """

    due: Seconds
    lag: Seconds
    step: NDArray[np.int64]
    sent: Seconds
    done: Seconds
    status: NDArray[np.int64]
    answers: list[bytes]
    reconnects: int
    connections: int
    cpu: float
    wall: float
    started: float = 0.0


class LoadGenerator:
    """Sends steps to one server over as many kept-alive connections as it takes.

    Args:
        patience: seconds after the last arrival for which answers are awaited.
        keep: whether answers are kept.
    """

    def __init__(self, host: str, port: int, *, patience: float = 5.0, keep: bool = False) -> None:
        self._address, self._patience, self._keep = (host, port), patience, keep

    def run(self, steps: Sequence[Step], due: Seconds) -> Load:
        """Send each step at its time; returns when all are answered, or `patience` has passed.

        Raises:
            ValueError: not one time for each step.
        """
        if len(steps) != len(due):
            raise ValueError(f"expected {len(steps)} times, got {len(due)}")
        with _no_garbage_collection(), _Run(self._address, steps, due.tolist(), self._keep) as run:
            started = time.process_time()
            run.start()
            run.go_on(self._patience)
            return run.load(time.process_time() - started)


@dataclass(slots=True)
class _Request:
    """A request under way: which of a step's, and when it could be sent."""

    step: int
    number: int
    sent: float


class _Run:
    """One run; its lists grow by an entry for each request."""

    def __init__(self, address: tuple[str, int], steps: Sequence[Step], due: list[float], keep: bool) -> None:
        self._address, self._steps, self._due, self._keep = address, steps, due, keep
        self._poll = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._idle: list[Connection] = []
        self._under_way: dict[int, _Request] = {}
        self._lag = [0.0] * len(due)
        self._rows: list[tuple[int, float, float, int]] = []
        self._answers: list[bytes] = []
        self._reconnects = self._opened = 0
        self._started = 0.0

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections.values():
            connection.close()
        self._poll.close()

    def start(self) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def go_on(self, patience: float) -> None:
        """Send and receive until nothing is left, or for too long after the last arrival."""
        following, end = 0, self._due[-1] + patience
        while following < len(self._due) or self._under_way:
            now = self._now()
            while following < len(self._due) and self._due[following] <= now:
                self._lag[following] = now - self._due[following]
                self._send(_Request(following, 0, self._due[following]))
                following += 1
                now = self._now()
            if now > end:
                break
            self._wait((self._due[following] if following < len(self._due) else end) - now)

    def load(self, cpu: float) -> Load:
        """What became of everything."""
        wall = self._now()
        unanswered = [(one.step, one.sent, np.nan, UNANSWERED) for one in self._under_way.values()]
        step, sent, done, status = zip(*self._rows, *unanswered, strict=True)
        return Load(
            np.array(self._due),
            np.array(self._lag),
            np.array(step, dtype=np.int64),
            np.array(sent),
            np.array(done),
            np.array(status, dtype=np.int64),
            self._answers,
            self._reconnects,
            self._opened,
            cpu,
            wall,
            self._started,
        )

    def _now(self) -> float:
        return time.monotonic() - self._started

    def _wait(self, seconds: float) -> None:
        # `epoll` counts whole milliseconds, `select` microseconds.
        if seconds > 0 and not select.select([self._poll], [], [], seconds)[0]:
            return
        for number, event in self._poll.poll(0, _MAX_EVENTS):
            if event & select.EPOLLOUT and number in self._connections:
                self._go_on_sending(self._connections[number])
            if event & ~select.EPOLLOUT and number in self._connections:  # it may have been dropped a moment ago
                self._receive(self._connections[number])

    def _send(self, request: _Request, *, again: bool = False) -> None:
        connection = None
        try:
            connection = self._idle.pop() if self._idle and not again else self._open()
            if not connection.send(self._steps[request.step][request.number]):
                self._poll.modify(connection.fileno(), select.EPOLLIN | select.EPOLLOUT)
        except (OSError, ConnectionLostError):
            if connection is not None:
                self._drop(connection)
            self._failed(request, again or connection is None or not connection.answers)
        else:
            self._under_way[connection.fileno()] = request

    def _open(self) -> Connection:
        connection = Connection(*self._address)
        self._opened += 1
        self._connections[connection.fileno()] = connection
        self._poll.register(connection.fileno(), select.EPOLLIN)
        return connection

    def _go_on_sending(self, connection: Connection) -> None:
        try:
            if connection.send():
                self._poll.modify(connection.fileno(), select.EPOLLIN)
        except ConnectionLostError:
            self._lost(connection)

    def _receive(self, connection: Connection) -> None:
        try:
            answer = connection.receive()
        except ConnectionLostError:
            self._lost(connection)
            return
        if answer is not None:
            request = self._under_way.pop(connection.fileno())
            self._idle.append(connection) if connection.keeps_alive else self._drop(connection)
            self._answered(request, answer)

    def _lost(self, connection: Connection) -> None:
        request = self._under_way.pop(connection.fileno(), None)
        self._drop(connection)
        if request is not None:
            self._failed(request, fresh=not connection.answers)

    def _answered(self, request: _Request, answer: bytes) -> None:
        now, status = self._now(), status_of(answer)
        self._rows.append((request.step, request.sent, now, status))
        if self._keep:
            self._answers.append(answer)
        if status == OK and request.number + 1 < len(self._steps[request.step]):
            self._send(_Request(request.step, request.number + 1, now))

    def _failed(self, request: _Request, fresh: bool) -> None:
        """Send a request again if its connection had been kept alive: a server may close those at any time."""
        if not fresh:
            self._reconnects += 1
            self._send(request, again=True)
            return
        self._rows.append((request.step, request.sent, np.nan, LOST))
        if self._keep:
            self._answers.append(b"")

    def _drop(self, connection: Connection) -> None:
        self._connections.pop(connection.fileno(), None)
        with suppress(ValueError):
            self._idle.remove(connection)
        connection.close()


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """What a run makes has no cycles, and a collection in the middle would make requests late."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
