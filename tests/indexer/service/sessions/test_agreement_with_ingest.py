"""Events that come over HTTP make the sessions that `ubm-embed ingest` makes of the same tool's log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from indexer.service.sessions.event_parser import parse_events
from indexer.service.sessions.shapes import reasons
from ubm_embed.data.logs import event_table
from ubm_embed.data.logs.ingestion import ingest

NOW = 1_800_000_000.0
START = 1_704_110_400_000_000  # microseconds
Steps = dict[str, list[tuple[str, str | None, str | None]]]


def live(requests: list[Any]) -> Steps:
    """What each session did, as the service reads it."""
    sessions: Steps = {}
    for request in requests:
        for session_id, events in parse_events(request, NOW).sessions.items():
            for event in events:
                one = event.interaction
                product_id = one.product_id or (one.product.product_id if one.product else None)
                sessions.setdefault(session_id, []).append((str(one.action), product_id, one.query))
    return sessions


def ingested(log: list[Any], kind: str, folder: Path) -> Steps:
    """What each session did, as it stands in a corpus."""
    file = folder / "log.jsonl"
    file.write_text("".join(json.dumps(event) + "\n" for event in log))
    ingest([file], kind=kind, out=folder / "corpus")
    frame = pl.read_parquet(folder / "corpus" / "interactions.parquet").sort("session_id", "position")
    sessions: Steps = {}
    for session_id, *step in frame.select("session_id", "action", "product_id", "query").iter_rows():
        sessions.setdefault(session_id, []).append(tuple(step))
    return sessions


SHOE, HAT = {"item_id": "p1", "item_name": "Red shoe"}, {"item_id": " 17.0 ", "item_name": "Hat"}
GA4 = [
    ("view_search_results", "c1", 5, [SHOE], "shoes"),
    ("view_item", "c1", 5, [SHOE], None),
    ("view_item", "c2", 5, [HAT], None),
    ("add_to_cart", "c1", 5, [SHOE], None),
    ("purchase", "c1", 6, [SHOE, HAT], None),
    ("scroll", "c1", 6, [], None),
    ("view_item", "c1", 6, [{"item_id": "(not set)"}], None),
]


def test_ga4(tmp_path: Path) -> None:
    log, requests = [], []
    for minute, (name, client, session, items, term) in enumerate(GA4):
        at, terms = START + minute * 60_000_000, {"search_term": term} if term else {}
        params = {"session_id": session, **terms}
        event = {"name": name, "params": params | {"items": items}, "timestamp_micros": at}
        requests.append({"client_id": client, "events": [event]})
        values = [{"key": "ga_session_id", "value": {"int_value": session}}]
        values += [{"key": key, "value": {"string_value": value}} for key, value in terms.items()]
        row = {"event_name": name, "event_timestamp": at, "user_pseudo_id": client, "event_params": values}
        log.append(row | {"items": items})
    assert live(requests) == ingested(log, "ga4", tmp_path)


def test_segment(tmp_path: Path) -> None:
    """A visit to the shop is one session in both, though a log may also name it by when it began."""
    steps: list[tuple[str, dict[str, Any], str | None]] = [
        ("Products Searched", {"query": "shoes"}, None),
        ("Product Viewed", {"product_id": "p1", "name": "Red shoe"}, None),
        ("Product Added", {"sku": 17, "name": "Hat"}, "user"),
        ("Order Completed", {"order_id": "o", "products": [{"product_id": "p1"}, {"sku": "17"}]}, "user"),
        ("Email Opened", {}, "user"),
    ]
    log = [
        {
            "type": "track",
            "event": name,
            "properties": properties,
            "anonymousId": "a",
            "userId": user,
            "messageId": f"m{minute}",
            "timestamp": f"2024-01-01T12:{minute:02}:00Z",
        }
        for minute, (name, properties, user) in enumerate(steps)
    ]
    assert list(live([{"batch": log}]).values()) == list(ingested(log, "segment", tmp_path).values())


@pytest.mark.parametrize("name", ["OTHER_EVENT", "NO_PRODUCT", "NO_PHRASE", "NO_SESSION"])
def test_reasons_are_in_the_same_words(name: str) -> None:
    assert getattr(reasons, name) == getattr(event_table, name)
