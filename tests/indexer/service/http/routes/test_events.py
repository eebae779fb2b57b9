"""POST /v1/events: what becomes of events, also while the sessions cannot be reached."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from indexer.service.event_log.event_log import EventLog
from indexer.service.service import Service
from indexer.service.sessions.session_store import SessionsUnavailable
from tests.indexer.service.http.served import Serve, Served

VIEW = {"action": "view", "product_id": "p1"}


class TestShapes:
    @pytest.mark.parametrize(
        "body",
        [
            {"session_id": "shape-own", **VIEW},
            [{"session_id": "shape-list", **VIEW}],
            {"events": [{"session_id": "shape-events", **VIEW}]},
            {"session_id": "shape-session", "interactions": [VIEW]},
        ],
    )
    def test_our_own(self, served: Served, body: Any) -> None:
        assert served.post("/v1/events", body) == {"accepted": 1, "duplicates": 0, "expired": 0, "ignored": []}

    def test_ga4(self, served: Served) -> None:
        view = {"name": "view_item", "params": {"ga_session_id": 7, "items": [{"item_id": "p1"}]}}
        scroll = {"name": "scroll", "params": {"ga_session_id": 7}}
        reply = served.post("/v1/events", {"client_id": "1.2", "events": [view, scroll]})
        assert reply["accepted"] == 1
        assert [(one["index"], bool(one["reason"])) for one in reply["ignored"]] == [(1, True)]

    def test_segment(self, served: Served) -> None:
        call = {"type": "track", "event": "Product Viewed", "anonymousId": "a", "messageId": "m", "properties": {}}
        call["properties"] = {"product_id": "p1"}
        assert served.post("/v1/events", call)["accepted"] == 1
        assert served.post("/v1/events", call)["duplicates"] == 1


class TestWhatIsKept:
    def test_an_event_that_comes_twice_is_one(self, served: Served) -> None:
        event = {"session_id": "twice", "event_id": "e-1", **VIEW}
        assert [served.post("/v1/events", event)["accepted"] for _ in range(2)] == [1, 0]

    def test_a_product_in_full_is_the_stores_own(self, served: Served) -> None:
        product = {"product_id": "p1", "title": "another title altogether"}
        served.post("/v1/events", {"session_id": "inline", "action": "view", "product": product})
        assert served.recommend(session_id="inline")["matches"] == served.recommend(interactions=[VIEW])["matches"]

    def test_clicks_count_for_the_answer(self, served: Served) -> None:
        answer = served.recommend(session_id="shopper", interactions=[VIEW], k=3)
        product_id = answer["matches"][1]["product_id"]
        before = served.client.get("/v1/admin/experiments").json()["groups"][0]["clicks"]
        click = {"action": "view", "product_id": product_id, "answer_id": answer["answer_id"]}
        served.post("/v1/events", {"session_id": "shopper", **click})
        assert served.client.get("/v1/admin/experiments").json()["groups"][0]["clicks"] == before + 1


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ({"session_id": "s"}, "field 'action'"),
            ({"session_id": "s", "action": "look"}, "field 'action'"),
            (VIEW, "field 'session_id'"),
            ({"events": [{"session_id": "s", **VIEW}, {"session_id": "s", "action": "view"}]}, "events[1]"),
            ({"session_id": "s", **VIEW, "timestamp": "yesterday"}, "timestamp"),
            ({"session_id": "s", **VIEW, "event_id": "x" * 1_000}, "event_id"),
            ([{"session_id": "s", **VIEW}] * 1_001, "1,000"),
            (17, "event"),
        ],
    )
    def test_an_invalid_event_is_told_its_field(self, served: Served, body: Any, message: str) -> None:
        response = served.client.post("/v1/events", json=body)
        assert response.status_code == 422, response.text
        assert message in response.json()["error"]


class NoSessions:
    """Sessions that cannot be reached."""

    async def _fail(self, *arguments: Any) -> Any:
        raise SessionsUnavailable

    session = add_events = add_answer = counts = gauges = _fail

    async def close(self) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def without_sessions(serve: Serve) -> Iterator[Served]:
    def change(service: Service) -> None:
        service.sessions = NoSessions()

    with serve(change=change) as served:
        yield served


class TestWithoutSessions:
    """Sessions that cannot be reached, as when Redis is gone."""

    def test_a_whole_session_is_answered_as_ever(self, without_sessions: Served, served: Served) -> None:
        session = {"session_id": "s", "interactions": [VIEW]}
        assert without_sessions.recommend(**session)["matches"] == served.recommend(**session)["matches"]

    def test_a_session_by_its_id_is_answered_by_popularity_and_flagged(self, without_sessions: Served) -> None:
        answer = without_sessions.recommend(session_id="s")
        assert (answer["fallback"], answer["sessions"]) == ("sessions unavailable", "unavailable")
        assert [match["product_id"] for match in answer["matches"]] == ["p3", "p5"]

    def test_events_that_nobody_would_have_are_refused(self, without_sessions: Served) -> None:
        response = without_sessions.client.post("/v1/events", json={"session_id": "s", **VIEW})
        assert (response.status_code, response.json()["error_type"]) == (503, "sessions_unavailable")
        assert int(response.headers["retry-after"]) >= 1

    def test_metrics_go_on(self, without_sessions: Served) -> None:
        assert "ubm_sessions_unavailable" in without_sessions.client.get("/metrics").text

    def test_the_report_is_not_there(self, without_sessions: Served) -> None:
        assert without_sessions.client.get("/v1/admin/experiments").status_code == 503


def _rows(files: Sequence[Path]) -> list[dict[str, Any]]:
    return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]


def test_the_event_log_has_events_and_answers_also_without_sessions(serve: Serve, tmp_path: Path) -> None:
    def change(service: Service) -> None:
        service.sessions = NoSessions()
        service.event_log = EventLog(tmp_path, 60.0)

    with serve(change=change) as served:
        reply = served.post("/v1/events", {"session_id": "s", **VIEW})
        answer = served.recommend(session_id="s", interactions=[VIEW], k=2)
    assert reply == {"accepted": 0, "duplicates": 0, "expired": 0, "ignored": [], "sessions": "unavailable"}
    assert [row["product_id"] for row in _rows(sorted(tmp_path.glob("events/*.parquet")))] == ["p1"]
    (logged,) = _rows(sorted(tmp_path.glob("answers/*.parquet")))
    assert logged["answer_id"] == answer["answer_id"]
    assert logged["product_ids"] == [match["product_id"] for match in answer["matches"]]
