"""Which requests are refused before anything is done for them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from indexer.service.engine.admission import Admission, Queue
from indexer.service.http.connection.load_shedding import LoadShedder, is_too_old, route_of
from indexer.service.http.errors import ErrorAnswer

TIMEOUT = 2.0
RECOMMEND, EVENTS, SIMILAR = b"/v1/recommend", b"/v1/events", b"/v1/products/a%2Fb/similar"


class ToyEngine:
    """Lets a number of sessions wait, and works off ten a second."""

    version: Any = SimpleNamespace(version=7)

    def __init__(self, max_waiting: int) -> None:
        self.admission, self.queue = Admission(max_waiting, TIMEOUT, lambda waiting: None), Queue()
        self.queue.rate.add(10, 1.0)

    @property
    def retry_after(self) -> int:
        return self.queue.retry_after

    def has_room(self, requests: int) -> bool:
        return self.admission.has_room(1, self.queue, ahead=requests)


class Recorder:
    """A `SheddingObserver` that remembers."""

    def __init__(self) -> None:
        self.shed: list[tuple[str, str]] = []

    def request_shed(self, method: str, route: str) -> None:
        self.shed.append((method, route))


@pytest.fixture
def engine() -> ToyEngine:
    return ToyEngine(max_waiting=1_000)


@pytest.fixture
def lag() -> SimpleNamespace:
    return SimpleNamespace(seconds=0.0)


@pytest.fixture
def observer() -> Recorder:
    return Recorder()


@pytest.fixture
def shedder(engine: ToyEngine, lag: Any, observer: Recorder) -> LoadShedder:
    return LoadShedder(engine, TIMEOUT, observer, lag)


def let_in(shedder: LoadShedder, path: bytes, requests: int = 1_000) -> int:
    """How many requests, read in one turn of an event loop, are not refused."""
    method = b"GET" if path == SIMILAR else b"POST"
    return sum(shedder.refusal(method, path) is None for _ in range(requests))


class TestALateLoop:
    @pytest.mark.parametrize("path", [RECOMMEND, EVENTS, SIMILAR, b"/v1/lookup", b"/v1/predict", b"/v1/embeddings"])
    def test_works_on_few_requests_at_a_time(
        self, shedder: LoadShedder, engine: ToyEngine, lag: Any, path: bytes
    ) -> None:
        engine.queue.rate.add(10_000, 0.1)  # the engine is fast
        lag.seconds = 0.11

        async def read() -> None:
            for _ in range(3):
                assert let_in(shedder, path) == 256
                await asyncio.sleep(0)

        asyncio.run(read())

    def test_says_when_to_come_again(self, shedder: LoadShedder, lag: Any) -> None:
        lag.seconds = 0.11

        async def read() -> None:
            let_in(shedder, EVENTS)
            answer = shedder.refusal(b"POST", EVENTS)
            assert isinstance(answer, ErrorAnswer)
            assert (answer.status, answer.error_type) == (429, "overloaded")
            assert dict(answer.headers) == {b"retry-after": b"1", b"x-ubm-version": b"7"}

        asyncio.run(read())

    @pytest.mark.parametrize("path", [b"/livez", b"/readyz", b"/metrics", b"/info", b"/v1/admin/reload", b"/nothing"])
    def test_leaves_what_operators_ask(self, shedder: LoadShedder, lag: Any, path: bytes) -> None:
        lag.seconds = 60.0
        assert let_in(shedder, path) == 1_000

    def test_is_forgiven_once_it_has_caught_up(self, shedder: LoadShedder, lag: Any) -> None:
        async def read() -> None:
            lag.seconds = 60.0
            assert let_in(shedder, EVENTS) == 256
            lag.seconds = 0.09
            assert let_in(shedder, EVENTS) == 1_000

        asyncio.run(read())


class TestAFullEngine:
    def test_costs_requests_for_it_and_no_others(self, shedder: LoadShedder, engine: ToyEngine) -> None:
        engine.admission.admit(20, engine.queue)

        async def read() -> None:
            answer = shedder.refusal(b"POST", RECOMMEND)
            assert answer is not None
            assert (b"retry-after", b"2") in answer.headers
            assert let_in(shedder, EVENTS) == 1_000

        asyncio.run(read())

    def test_is_foreseen_while_the_loop_reads(self, shedder: LoadShedder, engine: ToyEngine) -> None:
        """A thousand requests may come before the first of them is worked on."""
        engine.admission.admit(6, engine.queue)

        async def read() -> None:
            for _ in range(2):
                assert let_in(shedder, RECOMMEND) == 5
                await asyncio.sleep(0)
            engine.admission.admit(3, engine.queue)
            assert let_in(shedder, RECOMMEND) == 2

        asyncio.run(read())


def test_what_is_refused_is_counted_by_route(shedder: LoadShedder, engine: ToyEngine, observer: Recorder) -> None:
    engine.admission.admit(20, engine.queue)
    shedder.refusal(b"POST", RECOMMEND)
    shedder.refusal(b"GET", SIMILAR)
    assert observer.shed == [("POST", "/v1/recommend"), ("GET", "/v1/products/{product_id}/similar")]


def test_refused_requests_share_a_line_of_the_log(
    shedder: LoadShedder, engine: ToyEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.admission.admit(20, engine.queue)
    assert let_in(shedder, RECOMMEND) == 0
    assert 1 <= len(caplog.records) < 100


def test_what_waited_too_long_for_the_loop_is_not_begun() -> None:
    assert is_too_old(b"POST", EVENTS, 1.01, TIMEOUT)
    assert not is_too_old(b"POST", EVENTS, 1.0, TIMEOUT)
    assert not is_too_old(b"GET", b"/livez", 100.0, TIMEOUT)


def test_every_route_that_works_has_its_name() -> None:
    assert route_of(b"POST", b"/v1/recommend") == "/v1/recommend"
    assert route_of(b"POST", b"/v1/events/more") is None
    assert route_of(b"GET", SIMILAR) == "/v1/products/{product_id}/similar"


@pytest.mark.parametrize(
    ("method", "path"),
    [(b"POST", b"/v1/products"), (b"POST", b"/v1/products/delete"), (b"DELETE", b"/v1/products/a")],
)
def test_changes_of_products_wait_in_a_queue_of_their_own(method: bytes, path: bytes) -> None:
    assert route_of(method, path) is None
