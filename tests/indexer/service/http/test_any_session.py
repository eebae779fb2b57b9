"""Sessions and streams of events of any kind: each gets an answer or a refusal, and the service goes on."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.indexer.service.http.served import Served

SESSIONS = ("any-1", "any-2", "any-3")
ACTIONS = ("search", "view", "add", "buy", "remove")
texts = st.text(st.characters(codec=None), max_size=30)  # halves of surrogate pairs, too
ids = st.one_of(st.sampled_from(["p1", "p2", "p3", "nothing"]), texts, st.integers(), st.floats(), st.none())
products = st.fixed_dictionaries(
    {"title": texts},
    optional={
        "product_id": ids,
        "category": st.one_of(texts, st.none()),
        "attributes": st.one_of(
            st.dictionaries(texts, st.one_of(texts, st.integers(), st.floats(), st.booleans()), max_size=3),
            st.lists(st.fixed_dictionaries({"name": texts, "value": texts}), max_size=3),
        ),
    },
)
good = st.one_of(
    st.fixed_dictionaries({"action": st.just("search"), "query": texts}),
    st.fixed_dictionaries({"action": st.sampled_from(ACTIONS[1:]), "product_id": st.sampled_from(["p1", "p2", "no"])}),
    st.fixed_dictionaries({"action": st.sampled_from(ACTIONS[1:]), "product": products}),
)
any_interaction = st.one_of(
    good,
    st.fixed_dictionaries(
        {"action": st.one_of(st.sampled_from(ACTIONS), texts)},
        optional={"product_id": ids, "query": st.one_of(texts, st.integers()), "product": st.one_of(products, texts)},
    ),
    texts,
    st.none(),
)
events = st.fixed_dictionaries(
    {"session_id": st.sampled_from(SESSIONS), "interaction": any_interaction},
    optional={
        "event_id": st.sampled_from(["e1", "e2", "e3"]),
        "timestamp": st.one_of(st.floats(), st.integers(), st.datetimes().map(str), texts),
        "answer_id": texts,
    },
).map(lambda event: {**_fields(event.pop("interaction")), **event})


def _fields(interaction: Any) -> dict[str, Any]:
    return interaction if isinstance(interaction, dict) else {"action": interaction}


def _is_in_order(response: Any) -> bool:
    """Whether an answer or a refusal is as every one is."""
    body = response.json()
    if response.status_code == 200:
        return "error" not in body
    return response.status_code in (400, 422) and {"error", "error_type", "request_id"} == body.keys()


@settings(max_examples=50)
@given(st.lists(any_interaction, max_size=6), st.integers(-1, 5), st.booleans())
def test_any_session(served: Served, interactions: list[Any], k: int, explain: bool) -> None:
    body = _json({"interactions": interactions, "k": k, "explain": explain})
    response = served.client.post("/v1/recommend", content=body)
    assert _is_in_order(response), (body, response.text)


@settings(max_examples=25)
@given(st.lists(events, min_size=1, max_size=4))
def test_any_events(served: Served, stream: list[Any]) -> None:
    for event in stream:
        response = served.client.post("/v1/events", content=_json(event))
        assert _is_in_order(response), (event, response.text)
    assert _is_in_order(served.client.post("/v1/events", content=_json(stream)))
    sessions = [{"session_id": session_id} for session_id in SESSIONS]
    assert [answer["session_id"] for answer in served.recommend(sessions=sessions)["answers"]] == [*SESSIONS]


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
