"""What a service logs is what happened, and a log that cannot be written costs no answer."""

from __future__ import annotations

import time
from pathlib import Path

import polars as pl

from tests.indexer.service.http.served import Serve, Served
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.logs.ingestion import ingest

MOMENT = 1_000_000 * int(time.time())


def events(session_id: str, *acts: tuple[str, str]) -> list[dict[str, object]]:
    return [
        {"session_id": session_id, "event_id": str(number), "action": action, "product_id": product_id}
        for number, (action, product_id) in enumerate(acts)
    ]


def kept(served: Served, session_id: str) -> list[tuple[str, str | None]]:
    session = served.run(served.service.sessions.session(session_id))
    return [(str(one.action), one.product_id or one.query) for one in session.interactions]


def test_ingest_makes_the_sessions_of_the_log_that_the_service_kept(
    serve: Serve, tmp_path: Path, shop_store: Path
) -> None:
    with serve(event_log=tmp_path / "log") as served:
        first = events("s1", ("view", "p1"), ("add", "p1"), ("view", "p3"))
        served.post("/v1/events", {"events": first[:2]})
        served.post("/v1/events", {"events": first})  # sent again, with one more
        served.post("/v1/events", {"events": events("s2", ("view", "p5"), ("buy", "p5"))})
        ga4 = {"name": "view_item", "params": {"session_id": "7", "items": [{"item_id": "p2"}]}}
        served.post("/v1/events", {"client_id": "c", "timestamp_micros": MOMENT, "events": [ga4]})
        answer = served.recommend(session_id="s1", k=3)
        unknown = served.recommend(session_id="nobody", k=1)
        sessions = {name: kept(served, name) for name in ("s1", "s2")}
    ingest(
        [tmp_path / "log" / "events"],
        kind="native",
        out=tmp_path / "corpus",
        catalogue=shop_store.parent / "products.parquet",
    )
    rows = Corpus.open(tmp_path / "corpus").interactions
    for name, interactions in sessions.items():
        logged = rows.filter(pl.col("session_id") == name).select("action", pl.coalesce("product_id", "query"))
        assert logged.rows() == interactions
    assert rows["session_id"].n_unique() == 3
    logged_answer, fallback = pl.read_parquet(tmp_path / "log" / "answers").to_dicts()
    assert logged_answer["answer_id"] == answer["answer_id"]
    assert logged_answer["product_ids"] == [match["product_id"] for match in answer["matches"]]
    assert (logged_answer["version"], logged_answer["k"]) == (answer["version"], 3)
    assert fallback["fallback"] == unknown["fallback"] == "session not kept"


def test_answers_go_on_while_the_log_cannot_be_written(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file where the folder should be")
    with serve(event_log=tmp_path / "log", event_log_seconds=0.01) as served:
        served.post("/v1/events", {"events": events("s1", ("view", "p1"))})
        deadline = time.monotonic() + 60
        while "ubm_event_log_failures_total 0.0" in (metrics := served.client.get("/metrics").text):
            assert time.monotonic() < deadline
            served.recommend(session_id="s1")
        assert "ubm_event_log_failures_total" in metrics
