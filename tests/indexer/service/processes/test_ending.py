"""A service that is told to end finishes what it has."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from indexer.service.processes.http_server import LINGER_SECONDS
from tests.indexer.service.processes.conftest import LIMIT, ServiceProcess, Start, ask, until

SHOPPERS = 4


class Shopper:
    """Asks until the service takes no more requests, over one connection or over a new one for each request."""

    def __init__(self, service: ServiceProcess, *, reconnects: bool) -> None:
        self._service, self._reconnects = service, reconnects
        self._connection = service.connect()
        self.statuses: list[int] = []

    def shop(self) -> None:
        answered, closes = time.monotonic(), False
        while not closes:
            try:
                if self._reconnects:
                    self._connection.close()
                    self._connection.connect()
                closes = self._ask()
            except ConnectionRefusedError:
                return
            except (http.client.RemoteDisconnected, ConnectionError):
                # Only a connection that was idle may be closed without a word, as where this machine is very busy.
                assert not self._reconnects
                assert time.monotonic() - answered > LINGER_SECONDS
                return
            answered = time.monotonic()

    def _ask(self) -> bool:
        body = {"interactions": [{"action": "search", "query": f"red shoes {len(self.statuses)}"}]}
        response, _ = ask(self._connection, "/v1/recommend", body)
        self.statuses.append(response.status)
        return not self._reconnects and response.getheader("Connection") == "close"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_request_is_lost(start: Start, workers: str) -> None:
    service = start("--workers", workers)
    shoppers = [Shopper(service, reconnects=number % 2 == 0) for number in range(SHOPPERS)]
    with ThreadPoolExecutor(SHOPPERS) as pool:
        running = [pool.submit(shopper.shop) for shopper in shoppers]
        until(lambda: all(len(shopper.statuses) > 10 for shopper in shoppers))
        os.killpg(service.process.pid, signal.SIGINT)  # as a terminal does it, to all processes
        assert service.process.wait(LIMIT) == 0
        for one in running:
            one.result()
    assert {status for shopper in shoppers for status in shopper.statuses} == {200}
    with pytest.raises(ConnectionRefusedError):
        service.connect()


def test_a_client_that_never_finishes_does_not_keep_it(start: Start) -> None:
    service = start("--grace", "1", "--timeout", "60")
    with socket.create_connection(("127.0.0.1", service.port)) as slow:
        slow.sendall(b"POST /v1/recommend HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert ask(service.connect(), "/livez")[0].status == 200
        assert service.end() == 0
