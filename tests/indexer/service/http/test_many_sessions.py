"""Ten thousand sessions at once."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.indexer.service.http.served import Serve, Served

SESSIONS = 10_000
PRODUCTS = 8


def test_each_is_kept_and_answered_as_its_own(serve: Serve) -> None:
    asked = range(0, SESSIONS, 10)
    with serve() as served, ThreadPoolExecutor(4) as pool:
        accepted = pool.map(lambda rows: _add(served, rows), _parts(range(SESSIONS), 1_000))
        assert sum(accepted) == SESSIONS
        answers = [one for part in pool.map(lambda rows: _ask(served, rows), _parts(asked, 100)) for one in part]
        assert f"ubm_kept_sessions {float(SESSIONS)}" in served.client.get("/metrics").text
    assert [answer["session_id"] for answer in answers] == [f"s{row}" for row in asked]
    assert {answer["fallback"] for answer in answers} == {None}
    for row, answer in zip(asked, answers, strict=True):
        assert _viewed(row) not in [match["product_id"] for match in answer["matches"]]


def _add(served: Served, rows: Iterable[int]) -> int:
    events = [{"session_id": f"s{row}", "action": "view", "product_id": _viewed(row)} for row in rows]
    return int(served.post("/v1/events", events)["accepted"])


def _ask(served: Served, rows: Iterable[int]) -> list[Any]:
    """Their answers; where too much waits, asked again as the service says."""
    body = {"k": 20, "sessions": [{"session_id": f"s{row}"} for row in rows]}
    while (response := served.client.post("/v1/recommend", json=body)).status_code == 429:
        time.sleep(int(response.headers["Retry-After"]) / 10)
    assert response.status_code == 200, response.text
    return list(response.json()["answers"])


def _viewed(row: int) -> str:
    return f"p{row % PRODUCTS + 1}"


def _parts(items: Any, size: int) -> list[Any]:
    return [items[start : start + size] for start in range(0, len(items), size)]
