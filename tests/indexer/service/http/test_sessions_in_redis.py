"""The service with a real Redis server, which vanishes and returns."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.indexer.service.http.served import Serve, Served

if TYPE_CHECKING:
    from tests.indexer.service.conftest import RedisServer

VIEW = {"action": "view", "product_id": "p1"}


def test_answers_go_on_from_what_requests_say_while_redis_is_away(serve: Serve, redis_server: RedisServer) -> None:
    with serve(sessions=redis_server.url) as served:
        _await_kept(served)
        kept = served.recommend(session_id="s")
        assert (kept["fallback"], kept.get("sessions")) == (None, None)

        redis_server.stop()
        for _ in range(10):
            whole = served.recommend(session_id="s", interactions=[VIEW])
            assert whole["matches"] == kept["matches"]
            by_id = served.recommend(session_id="s")
            assert (by_id["fallback"], by_id["sessions"]) == ("sessions unavailable", "unavailable")
            assert served.client.post("/v1/events", json={"session_id": "s", **VIEW}).status_code == 503

        redis_server.start()
        _await_kept(served)
        assert served.recommend(session_id="s")["matches"] == kept["matches"]


def test_replicas_answer_from_the_sessions_that_they_share(serve: Serve, redis_url: str) -> None:
    with serve(sessions=f"{redis_url}/1") as one, serve(sessions=f"{redis_url}/1") as other:
        _await_kept(one)
        assert one.recommend(session_id="s")["matches"] == other.recommend(session_id="s")["matches"]


def _await_kept(served: Served) -> None:
    """Send an event until it is kept, as a page would."""
    deadline = time.monotonic() + 60
    body = {"session_id": "s", "event_id": "e1", **VIEW}
    while served.client.post("/v1/events", json=body).status_code != 200:
        assert time.monotonic() < deadline, "events are refused for a minute"
        time.sleep(0.05)
