"""What surrounds the routes, around a few routes made for it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from indexer.search.query import Timings
from indexer.service.engine.overload import Overloaded
from indexer.service.http.access.key_sources import VARIABLE
from indexer.service.http.access.keys import Keys
from indexer.service.http.connection.protocol import ConnectionLimits
from indexer.service.http.middleware import harden
from indexer.service.http.request_state import state_of
from indexer.service.http.telemetry.json_log import JsonFormatter
from indexer.service.http.telemetry.metrics import Metrics
from indexer.service.settings import ServiceSettings
from tests.indexer.service.http.raw_server import parsed, read_answer, running
from ubm_embed.errors import InvalidData

READ, WRITE = "r" * 40, "w" * 40
MAX_BODY = 1_000


async def recommend(request: Request) -> Response:
    """Answers with the length of the body, as version 7."""
    body, state = await request.body(), state_of(request.scope)
    state.sessions, state.version = body.count(b"session") or 1, 7
    state.timings = Timings(0.001, 0.002, 0.003, 0.004, 0.005, 0.006)
    return PlainTextResponse(str(len(body)))


async def fail(request: Request) -> Response:
    """Fails in a way that the path says."""
    errors = {
        "bug": ValueError("a secret of the shop"),
        "damage": InvalidData("cut off", file="vectors.f32"),
        "load": Overloaded(2, "queue"),
        "gone": ClientDisconnect(),
    }
    raise errors[request.path_params["how"]]


async def break_off(request: Request) -> Response:
    """Fails after its answer has begun."""

    async def parts() -> Any:
        yield b"one"
        raise ValueError("a secret of the shop")

    return StreamingResponse(parts())


async def similar(request: Request) -> Response:
    """Answers."""
    return PlainTextResponse("similar")


async def events(request: Request) -> Response:
    """Answers."""
    return PlainTextResponse("events")


async def alive(request: Request) -> Response:
    """Answers."""
    return PlainTextResponse("alive")


async def page(request: Request) -> Response:
    """A page."""
    return PlainTextResponse("page")


def application(keys: Keys | None = None, metrics: Metrics | None = None) -> Any:
    """A hardened application of these routes."""
    routes = [
        Route("/v1/recommend", recommend, methods=["POST"]),
        Route("/v1/products/{product_id:path}/similar", similar),
        Route("/v1/events", events, methods=["POST"]),
        Route("/fail/{how}", fail),
        Route("/break", break_off),
        Route("/docs", page),
        Route("/livez", alive),
    ]
    settings = ServiceSettings(store="store", max_body=MAX_BODY)
    return harden(Starlette(routes=routes), settings, keys or Keys(), metrics or Metrics(), lambda: 5)


@pytest.fixture
def client() -> TestClient:
    """A client of a service without keys."""
    return TestClient(application())


@pytest.fixture
def with_keys() -> TestClient:
    """A client of a service with a key that reads, one session a second and two at once, and one that writes."""
    keys = Keys.read(None, {VARIABLE: f"shop:read:{READ} cron:write:{WRITE}"})
    return TestClient(application(keys))


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that is logged, as JSON."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.root.addHandler(handler)
    level = logging.root.level
    logging.root.setLevel(logging.DEBUG)
    yield stream
    logging.root.removeHandler(handler)
    logging.root.setLevel(level)


def lines(log: io.StringIO, logger: str = "ubm_embed.access") -> list[dict[str, Any]]:
    """The lines of one logger."""
    return [line for line in map(json.loads, log.getvalue().splitlines()) if line["logger"] == logger]


class TestHeaders:
    """Of every answer."""

    @pytest.mark.parametrize("sent", ["abc-DEF_123", "x" * 64])
    def test_a_sane_request_id_comes_back(self, client: TestClient, sent: str) -> None:
        answer = client.get("/nowhere", headers={"X-Request-ID": sent})
        assert answer.headers["x-request-id"] == answer.json()["request_id"] == sent

    @pytest.mark.parametrize("sent", ["", "x" * 65, "a b", "a\tb", "<script>", "é".encode(), '{"a":1}'])
    def test_another_one_is_replaced(self, client: TestClient, sent: str | bytes) -> None:
        ids = {client.get("/livez", headers={b"X-Request-ID": sent}).headers["x-request-id"] for _ in range(3)}  # type: ignore[dict-item]
        assert len(ids) == 3
        assert sent not in ids

    @pytest.mark.parametrize("path", ["/v1/products/p1/similar", "/nowhere", "/fail/bug", "/fail/load", "/break"])
    def test_no_answer_may_be_kept_sniffed_or_framed(self, path: str) -> None:
        headers = TestClient(application(), raise_server_exceptions=False).get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers

    def test_a_page_may_use_scripts_and_styles_of_its_own_only(self, client: TestClient) -> None:
        policy = client.get("/docs").headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe-eval" not in policy

    def test_an_answer_has_the_version_that_made_it_and_else_the_live_one(self, client: TestClient) -> None:
        assert client.post("/v1/recommend").headers["x-ubm-version"] == "7"
        assert client.post("/v1/events").headers["x-ubm-version"] == "5"


class TestErrors:
    """As JSON, with nothing of the inside."""

    def test_an_unknown_route(self, client: TestClient) -> None:
        answer = client.get("/v1/nowhere")
        assert (answer.status_code, answer.json()["error_type"]) == (404, "not_found")

    def test_a_wrong_method_says_which_are_right(self, client: TestClient) -> None:
        answer = client.get("/v1/recommend")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert answer.json()["error_type"] == "method_not_allowed"

    def test_a_bug_is_logged_under_its_request_id_and_not_told(self, client: TestClient, log: io.StringIO) -> None:
        answer = client.get("/fail/bug")
        assert (answer.status_code, answer.json()["error_type"]) == (500, "internal_error")
        assert answer.headers["content-type"] == "application/json"
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text
        (line,) = lines(log, "indexer.service.http.middleware")
        assert (line["level"], line["request_id"]) == ("error", answer.json()["request_id"])
        assert line["traceback"].endswith("ValueError: a secret of the shop")

    def test_damage_is_logged_in_a_line(self, client: TestClient, log: io.StringIO) -> None:
        answer = client.get("/fail/damage")
        assert (answer.status_code, answer.json()["error_type"]) == (503, "store_damaged")
        assert "vectors.f32" not in answer.text
        (line,) = lines(log, "indexer.service.http.middleware")
        assert line["message"] == "a request failed: vectors.f32: cut off"
        assert "traceback" not in line

    def test_load_is_no_failure(self, client: TestClient, log: io.StringIO) -> None:
        answer = client.get("/fail/load")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
        assert lines(log, "indexer.service.http.middleware") == []

    def test_a_client_that_has_gone_gets_nothing(self, client: TestClient, log: io.StringIO) -> None:
        with pytest.raises(AssertionError):  # of the test client: there was no answer
            client.get("/fail/gone")
        assert lines(log)[-1]["status"] == 499
        assert lines(log, "indexer.service.http.middleware") == []

    def test_an_answer_that_breaks_off_is_closed_and_logged(self, log: io.StringIO) -> None:
        with running(application(), ConnectionLimits()) as server:
            answer = server.ask(b"GET /break HTTP/1.1\r\nHost: shop\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"3\r\none\r\n")
        assert lines(log, "indexer.service.http.middleware")[0]["traceback"].endswith("a secret of the shop")


class TestBodies:
    """Their bound."""

    def test_the_largest_is_read(self, client: TestClient) -> None:
        assert client.post("/v1/recommend", content=b"x" * MAX_BODY).text == str(MAX_BODY)

    def test_a_larger_one_is_answered_413(self, client: TestClient) -> None:
        answer = client.post("/v1/recommend", content=b"x" * (MAX_BODY + 1))
        assert (answer.status_code, answer.json()["error_type"]) == (413, "body_too_large")
        assert "at most 1,000 bytes" in answer.json()["error"]

    def test_chunks_are_counted_while_they_come(self) -> None:
        head = b"POST /v1/recommend HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n"
        with running(application(), ConnectionLimits(seconds=0.2)) as server, server.connect() as connection:
            connection.sendall(head + b"100\r\n" + b"x" * 256 + b"\r\n400\r\n" + b"x" * 1_024)  # the rest never comes
            assert read_answer(connection)[0] == 413
            assert connection.recv(1) == b""

    def test_a_body_that_is_announced_as_too_large_is_not_read(self) -> None:
        head = b"POST /v1/recommend HTTP/1.1\r\nHost: shop\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n"
        with running(application(), ConnectionLimits(seconds=0.2)) as server:
            assert parsed(server.ask(head))[0] == 413

    @pytest.mark.parametrize("size", [1_001, 100_000, 5_000_000])
    def test_a_client_that_sends_all_before_it_reads_gets_the_answer(self, size: int) -> None:
        head = b"POST /v1/recommend HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size
        with running(application(), ConnectionLimits(message_bytes=10_000)) as server, server.connect() as connection:
            connection.sendall(head + b"x" * size)
            assert read_answer(connection)[0] == 413

    def test_the_connection_goes_on_after_a_refusal_whose_body_was_sent(self) -> None:
        head = b"POST /v1/recommend HTTP/1.1\r\nHost: shop\r\nContent-Length: 1001\r\n\r\n"
        with running(application(), ConnectionLimits()) as server, server.connect() as connection:
            for _ in range(2):
                connection.sendall(head + b"x" * 1_001)
                assert read_answer(connection)[0] == 413


class TestKeys:
    """Who is let in."""

    def test_open_routes_need_none(self, with_keys: TestClient) -> None:
        assert with_keys.get("/livez").status_code == 200

    def test_without_a_key_nothing_is_told_and_no_body_is_read(self, with_keys: TestClient) -> None:
        answer = with_keys.post("/v1/recommend", content=b"x" * (MAX_BODY + 1))
        assert (answer.status_code, answer.json()["error_type"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert with_keys.get("/v1/nowhere").status_code == 401

    def test_a_role_is_asked_for(self, with_keys: TestClient) -> None:
        reading, writing = ({"Authorization": f"Bearer {key}"} for key in (READ, WRITE))
        assert with_keys.post("/v1/recommend", headers=reading).status_code == 200
        assert with_keys.post("/v1/events", headers=writing).status_code == 200
        answer = with_keys.post("/v1/events", headers=reading)
        assert (answer.status_code, answer.json()["error_type"]) == (403, "forbidden")
        assert answer.json()["error"] == "expected a key with the role write"

    def test_pages_of_other_sites_are_refused_where_no_keys_are_asked_for(
        self, client: TestClient, with_keys: TestClient
    ) -> None:
        elsewhere = {"Origin": "https://evil.example"}
        assert client.post("/v1/events", headers=elsewhere).status_code == 403
        assert with_keys.post("/v1/events", headers=elsewhere | {"Authorization": f"Bearer {WRITE}"}).status_code == 200

    def test_the_rate_of_a_key_counts_sessions(self, tmp_path: Any) -> None:
        file = tmp_path / "keys.toml"
        file.touch(0o600)
        file.write_text(f'[[keys]]\nname = "shop"\nrole = "read"\nkey = "{READ}"\nrate = 0.01\nburst = 10')
        client = TestClient(application(Keys.read(file, {})), headers={"Authorization": f"Bearer {READ}"})
        assert client.post("/v1/recommend", content=b"session " * 9).status_code == 200
        assert client.post("/v1/recommend").status_code == 200
        answer = client.post("/v1/recommend")
        assert (answer.status_code, answer.json()["error_type"]) == (429, "rate_limited")
        assert 90 <= int(answer.headers["retry-after"]) <= 100
        assert client.get("/livez").status_code == 200


class TestLog:
    """A line for each request."""

    def test_it_says_where_the_time_went(self, client: TestClient, log: io.StringIO) -> None:
        answer = client.post("/v1/recommend", content=b"session session")
        (line,) = lines(log)
        parts = [line[f"{part}_ms"] for part in ("queue", "resolve", "tokenise", "encode", "search", "rows")]
        assert parts == [1, 2, 3, 4, 5, 6]
        assert line["total_ms"] > 0
        del line["time"]
        wanted = {
            "level": "info",
            "method": "POST",
            "route": "/v1/recommend",
            "status": 200,
            "sessions": 2,
            "version": 7,
        }
        assert wanted.items() <= line.items()
        assert line["request_id"] == answer.headers["x-request-id"]

    def test_it_names_the_route_and_nothing_that_the_client_wrote(self, client: TestClient, log: io.StringIO) -> None:
        client.get("/v1/products/personal-1/similar?user=personal-2", headers={"User-Agent": "personal-3"})
        client.get("/personal-4")
        client.request("PERSONAL", "/v1/recommend", content=b"personal-5")
        client.post("/v1/recommend", content=b"x" * (MAX_BODY + 1))
        routes = ["/v1/products/{product_id}/similar", "unmatched", "/v1/recommend", "/v1/recommend"]
        assert [line["route"] for line in lines(log)] == routes
        assert "personal-" not in "".join(map(str, lines(log)))

    def test_it_names_a_key_and_does_not_hold_it(self, with_keys: TestClient, log: io.StringIO) -> None:
        for key in (READ, WRITE, "f" * 40):
            with_keys.post("/v1/recommend", headers={"Authorization": f"Bearer {key}"})
        with_keys.get(f"/v1/{READ}?key={READ}", headers={"X-Request-ID": "r1", "Authorization": READ})
        assert [line.get("key") for line in lines(log)] == ["shop", "cron", None, None]
        text = "".join(map(str, lines(log) + lines(log, "indexer.service.http.middleware")))
        assert all(key not in text for key in (READ, WRITE, "f" * 40))

    def test_it_says_why_a_request_was_refused(self, client: TestClient, log: io.StringIO) -> None:
        client.get("/fail/load")
        assert lines(log)[0]["error_type"] == "overloaded"

    def test_its_level_can_be_raised(self, client: TestClient, log: io.StringIO) -> None:
        logging.root.setLevel(logging.WARNING)
        client.post("/v1/recommend")
        assert lines(log) == []


def test_requests_are_counted_by_route_and_status() -> None:
    metrics = Metrics()
    client = TestClient(application(metrics=metrics), raise_server_exceptions=False)
    for path in ("/v1/products/p1/similar", "/v1/products/a/b/similar", "/fail/bug", "/fail/load", "/p1", "/p2"):
        client.get(path)
    text = metrics.exposition().decode()
    assert 'ubm_requests_total{method="GET",route="/v1/products/{product_id}/similar",status="200"} 2.0' in text
    assert 'ubm_requests_total{method="GET",route="/fail/{how}",status="500"} 1.0' in text
    assert 'ubm_requests_total{method="GET",route="unmatched",status="404"} 2.0' in text
    assert 'ubm_refused_requests_total{error_type="overloaded"} 1.0' in text
    assert "ubm_version 5.0" in text
    assert "ubm_requests_in_progress 0.0" in text
