"""Past its capacity a service answers what it can, in time, and refuses the rest: a real load on a real server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from benchmarks.serving.connection import header_of, post, status_of
from benchmarks.serving.load_generator import Load, LoadGenerator, poisson_arrivals
from indexer.search.retriever import Retriever
from tests.indexer.service.http.served import Serve, Served

pytestmark = pytest.mark.slow

CAPACITY, SECONDS, TIMEOUT = 100, 5.0, 2.0
RECOMMEND = post("/v1/recommend", b'{"interactions": [{"action": "view", "product_id": "p1"}]}')
EVENT = post("/v1/events", b'{"session_id": "s1", "action": "view", "product_id": "p1"}')


@pytest.fixture
def slow_service(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A service that takes a hundredth of a second for each session, but hardly any of the processor's time."""
    answer = Retriever.answer

    def answer_slowly(self: Retriever, queries: Any, timings: Any = None) -> Any:
        time.sleep(len(queries) / CAPACITY)
        return answer(self, queries, timings)

    monkeypatch.setattr(Retriever, "answer", answer_slowly)
    with serve(timeout=TIMEOUT) as service:
        yield service


def load(service: Served, rate: float, step: tuple[bytes, ...]) -> Load:
    """What becomes of steps at this rate."""
    address = urlsplit(service.address)
    due = poisson_arrivals(rate, SECONDS, seed=0)
    generator = LoadGenerator(address.hostname or "", address.port or 0, keep=True)
    return generator.run([step] * len(due), due)


@pytest.mark.parametrize("times", [3, 10])
@pytest.mark.parametrize("step", [(RECOMMEND,), (EVENT, RECOMMEND)], ids=["whole", "live"])
def test_it_answers_at_capacity_in_time_and_refuses_the_rest(
    slow_service: Served, times: int, step: tuple[bytes, ...]
) -> None:
    result = load(slow_service, times * CAPACITY, step)
    assert set(result.status.tolist()) == {200, 429}
    refusals = [answer for answer in result.answers if status_of(answer) == 429]
    assert all(header_of(answer, "Retry-After") and header_of(answer, "X-UBM-Version") for answer in refusals)
    answered = np.array([b'"matches"' in answer for answer in result.answers])
    assert (answered & (result.done <= SECONDS)).sum() >= 0.8 * CAPACITY * SECONDS
    assert np.percentile((result.done - result.sent)[answered], 99) < TIMEOUT


def test_what_operators_ask_is_answered_meanwhile(slow_service: Served) -> None:
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load, slow_service, 3 * CAPACITY, (RECOMMEND,))
        statuses = set()
        while not loading.done():
            statuses |= {slow_service.client.get(path).status_code for path in ("/livez", "/readyz", "/metrics")}
    assert statuses == {200}
    assert 429 in loading.result().status
