"""Requests are sent when they are due and charged from then; a server of a few lines stands for the service."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from benchmarks.serving.connection import body_of, header_of, post, status_of
from benchmarks.serving.load_figures import figures
from benchmarks.serving.load_generator import LOST, UNANSWERED, Load, LoadGenerator, poisson_arrivals

LIMIT = 60.0  # seconds, for machines that are busy
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-UBM-Version: 3\r\n\r\n{}"
BUSY = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n"
Answer = Callable[[bytes], bytes | None]


@contextmanager
def server(answer: Answer) -> Iterator[int]:
    """The port of a server with a thread for each connection; it closes one whose answer is None."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)

    def converse(connection: socket.socket) -> None:
        with connection:
            while request := read(connection):
                answered = answer(request)
                if answered is None:
                    return
                connection.sendall(answered)

    def accept() -> None:
        while True:
            try:
                connection = listening.accept()[0]
            except OSError:
                return
            threading.Thread(target=converse, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def read(connection: socket.socket) -> bytes:
    """The body of the next request; empty when there is none."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65536)
        if not part:
            return b""
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    assert length is not None
    while len(body) < int(length[1]):
        body += connection.recv(65536)
    return body


def steps(count: int) -> list[tuple[bytes, ...]]:
    return [(post("/", b"%d" % number),) for number in range(count)]


def load(answer: Answer, count: int, *, keep: bool = False, patience: float = LIMIT) -> Load:
    """All steps at once."""
    with server(answer) as port:
        return LoadGenerator("127.0.0.1", port, patience=patience, keep=keep).run(steps(count), np.zeros(count))


def test_arrivals_are_random_at_the_given_rate_and_reproducible() -> None:
    due, again = (poisson_arrivals(1000, 10, seed=3) for _ in range(2))
    assert len(due) == 10_000
    assert due[-1] == pytest.approx(10, rel=0.05)
    np.testing.assert_array_equal(due, again)


def test_requests_do_not_wait_for_the_answers_to_earlier_ones() -> None:
    all_there = threading.Barrier(20)

    def answer(request: bytes) -> bytes:
        all_there.wait(LIMIT)
        return OK

    done = load(answer, 20)
    assert (done.status == 200).all()
    assert done.connections == 20


def test_a_latency_runs_from_the_arrival_and_not_from_the_sending() -> None:
    due = np.array([0.0, 0.2])
    with server(lambda request: OK) as port:
        done = LoadGenerator("127.0.0.1", port).run(steps(2), due)
    np.testing.assert_array_equal(np.sort(done.sent), due)
    assert (done.done >= done.sent).all()
    assert (done.lag >= 0).all()


def test_connections_are_kept_alive_and_bodies_arrive_whole() -> None:
    seen: list[bytes] = []

    def answer(request: bytes) -> bytes:
        seen.append(request)
        return OK

    with server(answer) as port:
        done = LoadGenerator("127.0.0.1", port).run(
            [(post("/", b"a" * 50_000), post("/", b"b"), post("/", b"c"))], np.zeros(1)
        )
    assert seen == [b"a" * 50_000, b"b", b"c"], "of one step, one after the other"
    assert done.connections == 1
    assert done.step.tolist() == [0, 0, 0]


def test_a_step_ends_with_its_first_refusal() -> None:
    with server(lambda request: BUSY if request == b"a" else OK) as port:
        done = LoadGenerator("127.0.0.1", port).run([(post("/", b"a"), post("/", b"b"))] * 2, np.zeros(2))
    assert done.status.tolist() == [429, 429]
    assert figures(done)["refused"] == 2
    assert figures(done)["p50_ms"] is None, "no step was answered whole"


def test_answers_are_kept_on_request() -> None:
    (answer,) = load(lambda request: OK, 1, keep=True).answers
    assert status_of(answer) == 200
    assert body_of(answer) == b"{}"
    assert header_of(answer, "x-ubm-version") == "3"
    assert header_of(answer, "retry-after") is None


def test_a_lost_answer_is_counted() -> None:
    done = load(lambda request: None, 3)
    assert done.status.tolist() == [LOST] * 3
    assert figures(done)["errors"] == {"lost": 3}


def test_a_request_on_a_connection_that_was_just_closed_is_sent_again() -> None:
    closing = iter([False, True, False, False])
    with server(lambda request: None if next(closing) else OK) as port:
        done = LoadGenerator("127.0.0.1", port).run([(post("/", b"a"), post("/", b"b"), post("/", b"c"))], np.zeros(1))
    assert done.status.tolist() == [200] * 3
    assert (done.reconnects, done.connections) == (1, 2)


def test_answers_that_never_come_are_not_awaited_for_ever() -> None:
    never = threading.Event()

    def answer(request: bytes) -> bytes:
        never.wait(LIMIT)
        return OK

    done = load(answer, 2, patience=0.05)
    never.set()
    assert done.status.tolist() == [UNANSWERED] * 2
    assert figures(done)["errors"] == {"unanswered": 2}


class TestFigures:
    """Of loads whose times are given."""

    @staticmethod
    def load(
        due: list[float], done: list[float], status: list[int] | None = None, step: list[int] | None = None
    ) -> Load:
        return Load(
            due=np.array(due),
            lag=np.zeros(len(due)),
            step=np.arange(len(done)) if step is None else np.array(step),
            sent=np.zeros(len(done)),
            done=np.array(done),
            status=np.full(len(done), 200) if status is None else np.array(status),
            answers=[],
            reconnects=0,
            connections=1,
            cpu=0.1,
            wall=1.0,
        )

    def test_latencies_are_milliseconds_from_the_arrivals(self) -> None:
        result = figures(self.load([0.0, 1.0], [0.002, 1.004]), server_cpu=0.003)
        assert (result["p50_ms"], result["max_ms"]) == (3.0, 4.0)
        assert result["cpu_ms"] == 1.5
        assert result["answered_per_s"] == 1.0, "one came after the last arrival"

    def test_a_step_takes_until_its_last_answer(self) -> None:
        assert figures(self.load([0.0], [0.002, 0.007], step=[0, 0]))["max_ms"] == 7.0

    def test_refusals_and_errors_are_no_answers(self) -> None:
        result = figures(self.load([0.0, 0.5, 1.0], [0.1, 0.6, 1.1], status=[429, 500, 200]))
        assert (result["answered"], result["refused"], result["errors"]) == (1, 1, {"500": 1})
        assert result["max_ms"] == 100.0

    def test_a_generator_that_was_late_is_marked(self) -> None:
        late = self.load([0.0, 1.0], [0.1, 1.1])
        late.lag[:] = 0.05
        assert not figures(late)["generator"]["kept_up"]
        assert figures(self.load([0.0, 1.0], [0.1, 1.1]))["generator"]["kept_up"]
