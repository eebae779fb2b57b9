"""Products that change over HTTP while several workers answer."""

from __future__ import annotations

import http.client
import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.indexer.service.processes.conftest import ServiceProcess, Shop, ask, until

SEARCH = {"interactions": [{"action": "search", "query": "shoes"}], "k": 50}


@pytest.fixture(scope="module")
def service(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """Two workers that look for revisions ten times a second."""
    log = tmp_path_factory.mktemp("log") / "log"
    process = ServiceProcess(shop.store, log, "--workers", "2", "--reload-seconds", "0.1")
    yield process
    process.close()


def upsert(connection: http.client.HTTPConnection, **product: Any) -> Any:
    response, reply = ask(connection, "/v1/products", product)
    assert response.status == 200, reply
    return reply


def price(connection: http.client.HTTPConnection, product_id: str) -> Any:
    """Of a product as answers show it; None if no answer does."""
    matches = ask(connection, "/v1/recommend", SEARCH)[1]["matches"]
    return next((match["price"] for match in matches if match["product_id"] == product_id), None)


def test_a_worker_shows_at_once_what_it_was_told_and_the_other_soon(
    pair: dict[int, http.client.HTTPConnection],
) -> None:
    first, second = pair.values()
    upsert(first, product_id="p1", price=17.5)
    assert price(first, "p1") == 17.5
    until(lambda: price(second, "p1") == 17.5)
    second.request("DELETE", "/v1/products/p2")
    assert json.loads(second.getresponse().read())["deleted"] == 1
    assert price(second, "p2") is None
    until(lambda: price(first, "p2") is None)


def test_workers_that_write_at_once_lose_nothing(
    service: ServiceProcess, pair: dict[int, http.client.HTTPConnection]
) -> None:
    def write(worker: int, connection: http.client.HTTPConnection) -> list[int]:
        products = ({"product_id": f"w{worker}-{number}", "title": f"shoes {number}"} for number in range(10))
        return [upsert(connection, **product)["revision"] for product in products]

    with ThreadPoolExecutor(2) as pool:
        written = list(pool.map(write, (0, 1), pair.values()))
    revisions = list(itertools.chain(*written))
    assert len(set(revisions)) == 20
    last = max(revisions)
    for connection in pair.values():
        until(lambda connection=connection: ask(connection, "/v1/recommend", SEARCH)[1]["revision"] == last)
        matches = ask(connection, "/v1/recommend", SEARCH)[1]["matches"]
        assert {f"w{worker}-{number}" for worker in (0, 1) for number in range(10)} <= {
            match["product_id"] for match in matches
        }
    until(lambda: f"ubm_revision {float(last)}" in _metrics(service))


def _anonymous_bytes(process_id: int) -> int:
    """Memory of a process that is its own."""
    lines = Path(f"/proc/{process_id}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) * 1_024


def _metrics(service: ServiceProcess) -> str:
    connection = service.connect()
    connection.request("GET", "/metrics")
    return connection.getresponse().read().decode()


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_a_thousand_upserts_under_steady_queries(
    shop: Shop, service: ServiceProcess, pair: dict[int, http.client.HTTPConnection]
) -> None:
    """Each query sees each product as it was or as it is, and never an older one than the query before it did."""
    done, memory = Event(), []

    def watch(connection: http.client.HTTPConnection) -> int:
        queries, last, before = 0, -1.0, (0, 0)
        while not done.is_set():
            response, answer = ask(connection, "/v1/recommend", SEARCH)
            assert response.status == 200
            label = (answer["version"], answer["revision"])
            (found,) = (one["price"] for one in answer["matches"] if one["product_id"] == "p3")
            assert label >= before
            assert found >= last or label[0] > before[0]
            queries, last, before = queries + 1, found, label
        return queries

    with ThreadPoolExecutor(2) as pool:
        watching = [pool.submit(watch, connection) for connection in pair.values()]
        try:
            writer = service.connect()
            for number in range(1_000):
                upsert(writer, product_id="p3", price=10.0 + number)
                if number in (100, 999):
                    memory.append(_anonymous_bytes(service.owner_of(writer)))
                if number == 500:
                    shop.publish()
        finally:
            done.set()
        assert all(queries.result() > 100 for queries in watching)
    assert memory[1] - memory[0] < 64 << 20
    for connection in pair.values():
        until(lambda connection=connection: price(connection, "p3") == 1_009.0)
