"""A service that is told to end finishes what it has."""

from __future__ import annotations

import http.client
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from indexer.service.processes.http_server import LINGER_SECONDS
from tests.indexer.service.processes.conftest import Start, ask, until

SHOPPERS = 4


@dataclass
class Shopper:
    """Asks over one connection until the service says that it closes it."""

    connection: http.client.HTTPConnection
    answers: list[int] = field(default_factory=list)

    def shop(self) -> None:
        closes, answered = False, time.monotonic()
        while not closes:
            body = {"interactions": [{"action": "search", "query": f"red shoes {len(self.answers)}"}]}
            try:
                response, _ = ask(self.connection, "/v1/recommend", body)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                # Only a connection that was idle may be closed without a word, as where this machine is very busy.
                assert time.monotonic() - answered > LINGER_SECONDS
                return
            answered = time.monotonic()
            self.answers.append(response.status)
            closes = response.getheader("Connection") == "close"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_request_is_lost(start: Start, workers: str) -> None:
    service = start("--workers", workers)
    shoppers = [Shopper(service.connect()) for _ in range(SHOPPERS)]
    with ThreadPoolExecutor(SHOPPERS) as pool:
        running = [pool.submit(shopper.shop) for shopper in shoppers]
        until(lambda: all(len(shopper.answers) > 10 for shopper in shoppers))
        assert service.end(signal.SIGTERM if workers == "2" else signal.SIGINT) == 0
        for one in running:
            one.result()
    assert {status for shopper in shoppers for status in shopper.answers} == {200}
    with pytest.raises(ConnectionRefusedError):
        service.connect()


def test_a_client_that_never_finishes_does_not_keep_it(start: Start) -> None:
    service = start("--grace", "1", "--timeout", "60")
    with socket.create_connection(("127.0.0.1", service.port)) as slow:
        slow.sendall(b"POST /v1/recommend HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert ask(service.connect(), "/livez")[0].status == 200
        assert service.end() == 0
