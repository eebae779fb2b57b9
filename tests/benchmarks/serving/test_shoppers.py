"""Requests name known products and new ones as they should."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.serving.connection import body_of
from benchmarks.serving.load_generator import Step
from benchmarks.serving.shoppers import Shoppers

SESSIONS = [
    {
        "session_id": f"s{number}",
        "interactions": [
            {"action": "search", "query": f"phrase {number}"},
            {"action": "view", "product_id": f"p{number}"},
            {"action": "add", "product_id": f"p{number}"},
        ],
    }
    for number in range(20)
]
PRODUCTS = [f"p{number}" for number in range(5000)]


def bodies(steps: list[Step]) -> list[dict[str, Any]]:
    return [json.loads(body_of(request)) for step in steps for request in step]


def subjects(interactions: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["action"], one["product_id"]) for one in interactions if "product_id" in one]


KNOWN = set(subjects([one for session in SESSIONS for one in session["interactions"]]))  # type: ignore[misc]


def test_a_warm_up_has_each_session_once() -> None:
    asked = bodies(Shoppers(SESSIONS, PRODUCTS).warm_up())
    assert [one["interactions"] for one in asked] == [one["interactions"] for one in SESSIONS]


def test_a_tenth_of_the_products_has_never_been_named_before() -> None:
    asked = bodies(Shoppers(SESSIONS, PRODUCTS).whole_sessions(1000))
    named = [subject for one in asked for subject in subjects(one["interactions"])]
    new = [subject for subject in named if subject not in KNOWN]
    assert len(new) == len(set(new)), "each only once"
    assert len(new) / len(named) == pytest.approx(0.1, abs=0.02)
    assert len({one["session_id"] for one in asked}) == 1000


def test_a_live_session_sends_an_event_and_then_asks() -> None:
    steps = Shoppers(SESSIONS, PRODUCTS, unseen=0.0).live_sessions(1000)
    asked = bodies(steps)
    assert all(len(step) == 2 for step in steps)
    assert all(b"/v1/events" in first and b"/v1/recommend" in second for first, second in steps)
    assert all(event["session_id"] == one["session_id"] for event, one in zip(asked[::2], asked[1::2], strict=True))
    assert len({event["event_id"] for event in asked[::2]}) == 1000
    first = asked[0]["session_id"]
    events = [event for event in asked[::2] if event["session_id"] == first]
    assert [event["action"] for event in events] == ["search", "view", "add"], "a session from start to end"


def test_requests_are_the_same_for_the_same_seed() -> None:
    first, second = (Shoppers(SESSIONS, PRODUCTS, seed=1).whole_sessions(50) for _ in range(2))
    assert first == second


def test_a_catalogue_without_new_products_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="every product"):
        Shoppers(SESSIONS, [], unseen=1.0).whole_sessions(1)
