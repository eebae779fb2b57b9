"""The clock of the machine jumps, ahead and back, while shoppers go on."""

from __future__ import annotations

import time

import pytest

from indexer.service.service import Service
from indexer.service.sessions.memory_sessions import MemorySessions
from tests.indexer.service.http.served import Serve

DAY = 86_400.0
JUMPS = [0.0, 3 * DAY, -2 * DAY, 0.0, 1e9, -1e9, 0.0]


class Clock:
    """The time of day, and what was added to it."""

    def __init__(self) -> None:
        self._true, self.ahead = time.time, 0.0

    def __call__(self) -> float:
        """Seconds since 1970."""
        return self._true() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of everything in this process."""
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


def test_sessions_stay_and_answers_are_credited(serve: Serve, clock: Clock) -> None:
    def keep_by_this_clock(service: Service) -> None:
        service.sessions = MemorySessions(
            ttl=60.0, max_sessions=10, max_bytes=1 << 20, outcome_window=60.0, clock=time.monotonic, now=clock
        )

    with serve(change=keep_by_this_clock) as served:
        served.post("/v1/events", {"session_id": "s", "action": "search", "query": "red shoes"})
        clicked = list[str]()
        for jump in JUMPS:
            clock.ahead = jump
            answer = served.recommend(session_id="s", k=20)
            assert answer["fallback"] is None
            shown = [match["product_id"] for match in answer["matches"]]
            assert not set(shown) & set(clicked)
            clicked.append(shown[0])
            event = {"session_id": "s", "action": "view", "product_id": shown[0], "answer_id": answer["answer_id"]}
            assert served.post("/v1/events", event)["accepted"] == 1
        session = served.run(served.service.sessions.session("s"))
        (group,) = served.client.get("/v1/admin/experiments").json()["groups"]
    assert [one.product_id for one in session.interactions[1:]] == clicked
    assert (group["answers"], group["clicks"]) == (len(JUMPS), len(JUMPS))
