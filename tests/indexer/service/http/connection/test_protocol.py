"""What connections may do, over raw sockets against a running server."""

from __future__ import annotations

import contextlib
import itertools
import resource
import socket
from collections.abc import Iterator
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from indexer.service.http.connection.protocol import ConnectionLimits
from tests.indexer.service.http.raw_server import (
    Running,
    parsed,
    read_all,
    read_answer,
    running,
    wait_for,
)

GET = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nbody"
LAST = POST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the body that was sent, and at /large with more than a connection holds."""
    body, more = bytes(16 << 20) if scope["path"] == "/large" else b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def strict_server() -> Iterator[Running]:
    """A server with small limits, and patience."""
    limits = ConnectionLimits(target_bytes=1_000, header_bytes=2_000, headers=20, message_bytes=100_000, seconds=30)
    with running(echo, limits) as server:
        yield server


@pytest.fixture
def server(strict_server: Running) -> Iterator[Running]:
    """The same. Whatever a test did to it, it holds no connection after it and answers the next client."""
    yield strict_server
    assert strict_server.ask(LAST).endswith(b"\r\n\r\nbody")
    wait_for(lambda: strict_server.connections == 0)


@pytest.fixture(scope="module")
def hasty_server() -> Iterator[Running]:
    """A server that waits a fifth of a second for a request."""
    with running(echo, ConnectionLimits(seconds=0.2)) as server:
        yield server


@pytest.fixture(scope="module")
def small_server() -> Iterator[Running]:
    """A server of three connections."""
    with running(echo, ConnectionLimits(connections=3, seconds=30)) as server:
        yield server


@pytest.fixture(scope="module")
def impatient_server() -> Iterator[Running]:
    """A server that soon closes connections on which nothing comes, or nothing is taken in."""
    limits = ConnectionLimits(seconds=30, write_seconds=0.2)
    with running(echo, limits, keep_alive=0.5) as server:
        yield server


def test_requests_on_one_connection_are_answered(server: Running) -> None:
    with server.connect() as connection:
        for _ in range(3):
            connection.sendall(POST)
            assert read_answer(connection)[2] == b"body"


def test_pipelined_requests_are_answered_in_their_order(server: Running) -> None:
    bodies = [b"%04d" % number for number in range(10)]
    with server.connect() as connection:
        connection.sendall(b"".join(POST.replace(b"body", body) for body in bodies))
        assert [read_answer(connection)[2] for _ in bodies] == bodies


@hypothesis.settings(max_examples=25)
@hypothesis.given(cuts=st.lists(st.integers(0, 3 * len(POST)), max_size=8))
def test_it_does_not_matter_where_the_network_cuts_requests(strict_server: Running, cuts: list[int]) -> None:
    data, places = 3 * POST, [0, *sorted(cuts), None]
    with strict_server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start, end in itertools.pairwise(places):
            connection.sendall(data[start:end])
        assert [read_answer(connection)[2] for _ in range(3)] == [b"body"] * 3


@hypothesis.settings(max_examples=50)
@hypothesis.given(data=st.binary(min_size=1, max_size=300), is_after_a_head=st.booleans())
def test_no_bytes_make_it_fail(strict_server: Running, data: bytes, is_after_a_head: bool) -> None:
    with strict_server.connect() as connection:
        connection.sendall((b"POST / HTTP/1.1\r\nHost: shop\r\n" if is_after_a_head else b"") + data)
        connection.shutdown(socket.SHUT_WR)
        answer = read_all(connection)
    assert b"HTTP/1.1 5" not in answer
    assert strict_server.ask(LAST).endswith(b"body")


def test_a_body_in_chunks_arrives_whole(server: Running) -> None:
    head = b"POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    assert server.ask(head + b"2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n").endswith(b"\r\n\r\nbody")


def test_a_client_that_waits_for_100_is_told_to_go_on(server: Running) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"body")
        assert read_answer(connection)[2] == b"body"


@pytest.mark.parametrize(
    ("request_bytes", "status", "reason"),
    [
        (b"GET /" + b"a" * 1_100 + b" HTTP/1.1\r\nHost: shop\r\n\r\n", 414, "url_too_long"),
        (b"GET /" + b"a" * 500_000, 414, "url_too_long"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 2_100 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 1_000_000, 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"a" * 1_000_000, 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 30 + b"\r\n", 431, "too_many_headers"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000, 431, "too_many_headers"),
    ],
    ids=["long path", "endless path", "large header", "endless value", "endless name", "many headers", "header flood"],
)
def test_heads_are_bounded(server: Running, request_bytes: bytes, status: int, reason: str) -> None:
    answered, body = parsed(server.ask(request_bytes))
    assert answered == status
    assert server.refusals[-1] == reason
    assert set(body) == {"error", "error_type", "request_id"}


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"GET /\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00\xff\r\n\r\n",
        b"GET / HTTP/1.1\r\nNo colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nX : y\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\rY: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
        b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\nbo\n0\n\n",
        b"CONNECT shop:443 HTTP/1.1\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"GET /caf\xc3\xa9 HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request_is_answered_400_and_closed(server: Running, garbage: bytes) -> None:
    status, body = parsed(server.ask(garbage))
    assert (status, body["error_type"]) == (400, "malformed_request")
    assert server.refusals[-1] == "malformed"


def test_garbage_after_an_answer_closes_the_connection(server: Running) -> None:
    with server.connect() as connection:
        connection.sendall(POST)
        read_answer(connection)
        connection.sendall(b"\x00\x00")
        assert parsed(read_all(connection))[0] == 400


def test_empty_lines_for_ever_are_no_request(server: Running) -> None:
    with server.connect() as connection:
        connection.sendall(b"\r\n" * 10_000 + POST)
        assert read_answer(connection)[2] == b"body"


@pytest.mark.parametrize(
    ("beginning", "reason"),
    [
        (b"G", "slow_headers"),
        (b"GET / HTTP/1.1\r\nHost: sh", "slow_headers"),
        (b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n12345", "slow_body"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n123", "slow_body"),
    ],
)
def test_what_does_not_come_in_time_is_answered_408(hasty_server: Running, beginning: bytes, reason: str) -> None:
    status, body = parsed(hasty_server.ask(beginning))
    assert (status, body["error_type"]) == (408, "request_timeout")
    assert hasty_server.refusals[-1] == reason


def test_a_trickle_does_not_buy_time(hasty_server: Running) -> None:
    with hasty_server.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        connection.settimeout(0.02)
        answer = b""
        for _ in range(1_000):
            with contextlib.suppress(TimeoutError, ConnectionError):
                answer += connection.recv(1 << 16)
            if answer:
                break
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"X")
        assert answer.startswith(b"HTTP/1.1 408")


def test_trailers_and_chunk_extensions_are_bounded(server: Running) -> None:
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert parsed(server.ask(head + b"0\r\nX: " + b"a" * 1_000_000))[0] in (413, 431)
    assert parsed(server.ask(head + b"1;" + b"a" * 1_000_000))[0] == 413


@pytest.mark.parametrize("request_bytes", [GET, GET[:-2] + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"])
def test_requests_far_ahead_of_their_answers_are_not_kept(server: Running, request_bytes: bytes) -> None:
    server.ask(request_bytes * 10_000)
    assert server.refusals[-1] == "pipelined"


def test_a_client_that_closes_its_side_is_gone(server: Running) -> None:
    with server.connect() as connection:
        connection.sendall(POST[:-2])
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b""


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"nonsense"])
def test_a_request_to_upgrade_is_answered_as_if_it_had_not_asked(server: Running, protocol: bytes) -> None:
    upgrade = (
        b"POST / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\nHTTP2-Settings: AAMA\r\n" % protocol
    )
    for rest in (b"Content-Length: 4\r\n\r\nbody", b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"):
        with server.connect() as connection:
            for start, end in ((0, 20), (20, -3), (-3, None)):
                connection.sendall((upgrade + rest)[start:end])
            connection.sendall(upgrade + rest)
            connection.sendall(POST)
            assert [read_answer(connection)[2] for _ in range(3)] == [b"body"] * 3


def test_a_thousand_idle_connections_leave_room_for_a_request(server: Running) -> None:
    _allow_open_files(2_500)
    with contextlib.ExitStack() as stack:
        for _ in range(1_000):
            stack.enter_context(server.connect())
        wait_for(lambda: server.connections == 1_000)
        assert server.ask(LAST).endswith(b"body")
    assert not {"connections", "idle"} & set(server.refusals)


def test_the_one_that_was_idle_longest_makes_room(small_server: Running) -> None:
    wait_for(lambda: small_server.connections == 0)
    with contextlib.ExitStack() as stack:
        first, second, third = (stack.enter_context(small_server.connect()) for _ in range(3))
        for connection in (second, third, first):
            connection.sendall(POST)
            read_answer(connection)
        fourth = stack.enter_context(small_server.connect())
        assert read_all(second) == b""
        for connection in (first, third, fourth):
            connection.sendall(POST)
            assert read_answer(connection)[2] == b"body"
    assert small_server.refusals[-1] == "idle"


def test_if_all_are_busy_a_further_one_is_told_to_come_again(small_server: Running) -> None:
    wait_for(lambda: small_server.connections == 0)
    with contextlib.ExitStack() as stack:
        busy = [stack.enter_context(small_server.connect()) for _ in range(3)]
        for connection in busy:
            connection.sendall(POST[:-1])
        wait_for(lambda: small_server.connections == 3 and not small_server.protocol.idle)
        with small_server.connect() as further:
            answer = read_all(further)
        assert parsed(answer)[0] == 429
        assert b"retry-after: 1" in answer
        for connection in busy:
            connection.sendall(b"y")
            assert read_answer(connection)[2] == b"body"


def test_a_connection_that_never_asks_is_closed(impatient_server: Running) -> None:
    with impatient_server.connect() as connection:
        assert read_all(connection) == b""


def test_a_connection_that_asks_no_more_is_closed(impatient_server: Running) -> None:
    with impatient_server.connect() as connection:
        connection.sendall(POST)
        assert read_all(connection).endswith(b"body")


def test_empty_lines_are_no_sign_of_life(impatient_server: Running) -> None:
    with impatient_server.connect() as connection:
        connection.settimeout(0.02)
        for _ in range(1_500):
            with contextlib.suppress(TimeoutError):
                if connection.recv(1) == b"":
                    return
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"\r\n")
    pytest.fail("the connection stayed open")


def test_a_client_that_does_not_read_its_answer_is_left(impatient_server: Running) -> None:
    with impatient_server.connect() as connection:
        connection.sendall(GET.replace(b"/ ", b"/large ", 1))
        wait_for(lambda: impatient_server.connections == 0)


def _allow_open_files(number: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number:
        pytest.skip(f"this machine allows {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, number), hard))
