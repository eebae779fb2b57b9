"""What a client sees of a service that is behind, over raw sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from indexer.service.http.connection.protocol import ConnectionLimits
from indexer.service.http.errors import ErrorAnswer, retry_after
from tests.indexer.service.http.raw_server import Running, parsed, read_all, read_answer, running, wait_for

BODY = b'{"session_id": "s1"}'


def post(path: bytes, body: bytes = BODY, *headers: bytes) -> bytes:
    """A request."""
    lines = (b"POST %b HTTP/1.1" % path, b"Host: shop", b"Content-Length: %d" % len(body), *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@dataclass
class Shedder:
    """Refuses what it is told to."""

    refused: set[bytes] = field(default_factory=set)

    def refusal(self, method: bytes, path: bytes) -> ErrorAnswer | None:
        """One that says when to come again."""
        busy = ErrorAnswer(429, "overloaded", "busy", (*retry_after(3), (b"x-ubm-version", b"7")))
        return busy if path in self.refused else None


@dataclass
class Echo:
    """Answers with the body that was sent, and remembers the scopes."""

    scopes: list[Any] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer."""
        self.scopes.append(scope)
        body, more = b"", True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def echo() -> Echo:
    return Echo()


@pytest.fixture(scope="module")
def server(echo: Echo) -> Iterator[Running]:
    shedder: Any = Shedder({b"/refused"})
    with running(echo, ConnectionLimits(seconds=30, message_bytes=100_000), shedder=shedder) as server:
        yield server
        wait_for(lambda: server.connections == 0)


def test_a_refusal_has_all_that_an_error_of_a_route_has(server: Running) -> None:
    with server.connect() as connection:
        connection.sendall(post(b"/refused?explain=1", BODY, b"X-Request-ID: mine"))
        status, headers, body = read_answer(connection)
    assert (status, headers["retry-after"], headers["x-ubm-version"]) == (429, "3", "7")
    assert headers["content-type"] == "application/json"
    assert headers["cache-control"] == "no-store"
    assert "connection" not in headers
    assert json.loads(body) == {"error": "busy", "error_type": "overloaded", "request_id": "mine"}
    assert headers["x-request-id"] == "mine"


def test_a_request_without_an_id_gets_one(server: Running) -> None:
    with server.connect() as connection:
        connection.sendall(2 * post(b"/refused"))
        answers = [read_answer(connection) for _ in range(2)]
    ids = {headers["x-request-id"] for _, headers, _ in answers}
    assert len(ids) == 2
    assert all(json.loads(body)["request_id"] == headers["x-request-id"] for _, headers, body in answers)


def test_the_connection_goes_on_and_no_application_is_asked(server: Running, echo: Echo) -> None:
    before = len(echo.scopes)
    with server.connect() as connection:
        for path, status in ((b"/refused", 429), (b"/", 200), (b"/refused", 429), (b"/refused", 429), (b"/", 200)):
            connection.sendall(post(path))
            assert read_answer(connection)[0] == status
    assert len(echo.scopes) == before + 2


def test_requests_sent_in_advance_are_answered_in_their_order(server: Running) -> None:
    """One that waits behind another is for the application to refuse."""
    with server.connect() as connection:
        connection.sendall(post(b"/", b"1") + post(b"/refused", b"2") + post(b"/", b"3"))
        assert [read_answer(connection)[2] for _ in range(3)] == [b"1", b"2", b"3"]


@pytest.mark.parametrize("pieces", [(10, 40), (70,), (-5,), (20, 60, -10, -1)])
def test_a_body_that_comes_late_is_thrown_away(server: Running, pieces: tuple[int, ...]) -> None:
    request = post(b"/refused") + post(b"/")
    ends = sorted(position % len(request) for position in pieces)
    with server.connect() as connection:
        for start, end in zip([0, *ends], [*ends, len(request)], strict=True):
            connection.sendall(request[start:end])
        assert (read_answer(connection)[0], read_answer(connection)[2]) == (429, BODY)


def test_a_client_that_wants_no_more_gets_no_more(server: Running) -> None:
    assert parsed(server.ask(post(b"/refused", BODY, b"Connection: close")))[0] == 429
    answer = server.ask(b"POST /refused HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}")
    assert parsed(answer)[0] == 429
    assert b"\r\nconnection: close\r\n" in answer


def test_a_client_that_asks_whether_to_send_its_body_is_not_left_waiting(server: Running) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST /refused HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(1_000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"{}")
        assert read_answer(connection)[2] == b"{}"


def test_a_body_without_end_has_an_end(server: Running) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST /refused HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.sendall(b"4000\r\n" + bytes(0x4000) + b"\r\n" + 20 * (b"2000\r\n" + bytes(0x2000) + b"\r\n"))
        assert parsed(read_all(connection))[0] == 413


def test_the_application_learns_when_a_request_was_there(server: Running, echo: Echo) -> None:
    before = len(echo.scopes)
    with server.connect() as connection:
        connection.sendall(post(b"/", b"body")[:-1])
        wait_for(lambda: len(echo.scopes) > before)
        head_only = echo.scopes[-1]["state"]["arrival"]
        connection.sendall(b"y")
        read_answer(connection)
    assert echo.scopes[-1]["state"]["arrival"] > head_only
