from __future__ import annotations

import contextlib
import logging

import pytest

from indexer.service.sessions.circuit import Circuit
from indexer.service.sessions.session_store import SessionsBusy, SessionsUnavailable


class Server:
    """Counts its requests, and fails while it is away."""

    def __init__(self) -> None:
        self.now, self.requests, self.is_away = 0.0, 0, True
        self.circuit = Circuit("the server", (OSError,), failures=3, pause=1.0, late=0.5, clock=lambda: self.now)

    def request(self) -> bool:
        """Whether it was answered."""
        with contextlib.suppress(SessionsUnavailable), self.circuit.guard():
            self.requests += 1
            if self.is_away:
                raise ConnectionError("with a password")
            return True
        return False


@pytest.fixture
def server() -> Server:
    return Server()


def test_a_server_that_failed_in_a_row_is_asked_once_after_each_pause(server: Server) -> None:
    for _ in range(100):
        server.request()
    assert server.requests == 3
    for number in range(1, 5):
        server.now = number * 1.5
        assert not any(server.request() for _ in range(10))
        assert server.requests == 3 + number


def test_it_is_asked_as_ever_once_it_answers_again(server: Server) -> None:
    for _ in range(3):
        server.request()
    server.is_away, server.now = False, 1.5
    assert all(server.request() for _ in range(10))


def test_failures_between_answers_are_no_outage(server: Server) -> None:
    for _ in range(10):
        server.is_away = not server.is_away
        server.request()
    assert server.requests == 10


def test_the_log_has_one_line_for_the_begin_of_an_outage_and_one_for_its_end(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for number in range(20):
            server.now = float(number * 2)
            server.is_away = number < 10
            server.request()
    assert [record.getMessage() for record in caplog.records] == [
        "the server does not answer (ConnectionError); sessions are unavailable",
        "the server answers again",
    ]


def test_a_failure_that_is_late_says_nothing_about_the_server(server: Server) -> None:
    def fail_late() -> None:
        with server.circuit.guard():
            server.now += 0.6
            raise TimeoutError

    for _ in range(5):
        with pytest.raises(SessionsBusy, match="requests to the server are late"):
            fail_late()
    server.is_away = False
    assert server.request()


def test_other_errors_are_not_its_failures(server: Server) -> None:
    for _ in range(5):
        with pytest.raises(ValueError, match="ours"), server.circuit.guard():
            raise ValueError("ours")
    server.is_away = False
    assert server.request()


def test_an_error_does_not_repeat_what_the_server_said(server: Server) -> None:
    with (
        pytest.raises(SessionsUnavailable, match=r"^the server does not answer: ConnectionError$"),
        server.circuit.guard(),
    ):
        raise ConnectionError("with a password")
