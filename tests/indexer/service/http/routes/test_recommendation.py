"""POST /v1/recommend: sessions by their ids or whole, one or several, under rules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.indexer.service.http.served import Serve, Served
from ubm_embed.errors import InvalidData

VIEW = {"action": "view", "product_id": "p1"}
SEARCH = {"action": "search", "query": "red shoes"}


def ids(answer: Any) -> list[str]:
    return [match["product_id"] for match in answer["matches"]]


class TestOneSession:
    def test_three_ways_to_give_a_whole_session_have_one_answer(self, served: Served) -> None:
        session = {"interactions": [SEARCH, VIEW]}
        answers = [
            served.recommend(**session, k=3),
            served.recommend(session=session, k=3),
            served.recommend(sessions=[session], k=3)["answers"][0],
        ]
        assert all(ids(answer) == ids(answers[0]) for answer in answers)
        assert len(ids(answers[0])) == 3
        assert "p1" not in ids(answers[0])

    def test_an_answer_says_what_answered(self, served: Served) -> None:
        response = served.client.post("/v1/recommend", json={"session_id": "a-1", "interactions": [VIEW]})
        answer = response.json()
        assert answer["session_id"] == "a-1"
        assert answer["fallback"] is None
        assert str(answer["version"]) == response.headers["x-ubm-version"]
        assert response.headers["x-request-id"]
        assert 0 <= answer["purchase_intention"] <= 1

    def test_answers_have_ids_that_nobody_can_guess(self, served: Served) -> None:
        found = {served.recommend(interactions=[VIEW])["answer_id"] for _ in range(20)}
        assert len(found) == 20
        assert min(map(len, found)) >= 22  # 128 bits in base64

    def test_a_number_is_an_id(self, served: Served) -> None:
        assert served.recommend(session_id=17, interactions=[VIEW])["session_id"] == "17"

    def test_ids_that_the_version_does_not_know_are_told(self, served: Served) -> None:
        answer = served.recommend(interactions=[VIEW, {"action": "view", "product_id": "nothing"}])
        assert answer["unknown"] == ["nothing"]

    def test_a_columns_value_is_plain_json(self, served: Served) -> None:
        matches = served.recommend(interactions=[SEARCH], k=9)["matches"]
        first = next(match for match in matches if match["product_id"] == "p1")
        assert first["price"] is None
        assert first["weight"] is None  # NaN is no JSON
        assert first["since"] == "2026-01-02"


class TestKeptSessions:
    def test_events_are_the_session(self, served: Served) -> None:
        for event in (SEARCH, VIEW):
            served.post("/v1/events", {"session_id": "kept", **event})
        kept, whole = served.recommend(session_id="kept"), served.recommend(interactions=[SEARCH, VIEW])
        assert ids(kept) == ids(whole)
        assert kept["session_id"] == "kept"

    def test_a_removal_takes_an_add_back(self, served: Served) -> None:
        for action in ("add", "remove"):
            served.post("/v1/events", {"session_id": "undecided", "action": action, "product_id": "p1"})
        served.post("/v1/events", {"session_id": "undecided", **SEARCH})
        assert ids(served.recommend(session_id="undecided", include_seen=True)) == ids(
            served.recommend(interactions=[SEARCH], include_seen=True)
        )

    def test_a_session_that_is_not_kept_gets_the_popular_products_under_its_rules(self, served: Served) -> None:
        answer = served.recommend(session_id="nobody", where="product_id <> 'p3'")
        assert answer["fallback"] == "session not kept"
        assert ids(answer) == ["p5"]

    def test_a_whole_session_takes_the_place_of_what_is_kept(self, served: Served) -> None:
        served.post("/v1/events", {"session_id": "both", "action": "view", "product_id": "p4"})
        assert ids(served.recommend(session_id="both", interactions=[VIEW])) == ids(
            served.recommend(interactions=[VIEW])
        )

    def test_a_batch_mixes_both(self, served: Served) -> None:
        served.post("/v1/events", {"session_id": "mixed", **VIEW})
        answers = served.recommend(sessions=[{"session_id": "mixed"}, {"interactions": [VIEW]}, {"session_id": "no"}])
        kept, whole, missing = answers["answers"]
        assert ids(kept) == ids(whole)
        assert missing["fallback"] == "session not kept"


class TestRules:
    @pytest.mark.parametrize(
        ("rules", "expected"),
        [
            ({"where": "category = 'shirts'"}, {"p3", "p4", "p8"}),
            ({"exclude": ["p3", "p4"], "where": "category = 'shirts'"}, {"p8"}),
            ({"where": "category = 'shoes'"}, {"p2", "p5"}),
            ({"where": "category = 'shoes' AND product_id LIKE 'p%'", "include_seen": True}, {"p1", "p2", "p5"}),
        ],
    )
    def test_what_may_match(self, served: Served, rules: dict[str, Any], expected: set[str]) -> None:
        answer = served.recommend(interactions=[VIEW], **rules)
        assert {name for name in ids(answer) if name.startswith("p")} == expected

    def test_boost(self, served: Served) -> None:
        assert ids(served.recommend(interactions=[VIEW], boost={"p7": 10}))[0] == "p7"

    def test_max_per(self, served: Served) -> None:
        matches = served.recommend(interactions=[VIEW], k=9, max_per={"category": 1})["matches"]
        categories = [match["category"] for match in matches if match["category"]]
        assert len(categories) == len(set(categories))

    def test_negatives_do_not_match(self, served: Served) -> None:
        negatives = ["p2", {"product_id": "p5", "title": "walking boots"}, {"title": "blue shirt"}]
        found = ids(served.recommend(interactions=[VIEW], k=9, negatives=negatives))
        assert found
        assert not {"p2", "p5"} & set(found)

    def test_reasons(self, served: Served) -> None:
        (match,) = served.recommend(interactions=[VIEW], k=1, explain=True)["matches"]
        assert match["reasons"][0]["product_id"] == "p1"


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ({"session_id": "s", "k": 0}, "field 'k': must be at least 1, got 0"),
            ({"session_id": "s", "k": -1}, "field 'k': must be at least 1, got -1"),
            ({"session_id": "s", "k": 201}, "field 'k': expected at most 200, got 201"),
            ({"session_id": "s", "k": 10**30}, "field 'k': expected at most 200, got"),
            ({"session_id": "s", "k": 1.5}, "field 'k': expected an integer, got a number"),
            ({"session_id": "s", "k": "5"}, "field 'k': expected an integer, got a string"),
            ({"session_id": "s", "K": 5}, "field 'K': unknown; did you mean 'k'?"),
            ({"session_id": ""}, "field 'session_id': its length must be at least 1"),
            ({"session_id": "x" * 257}, "field 'session_id': its length must be at most 256"),
            ({"session_id": ["s"]}, "field 'session_id': expected an integer, a string or null, got a list"),
            ({}, "expected session_id, session, interactions or sessions"),
            ([], "expected an object, got a list"),
            ({"session_id": "s", "sessions": []}, "field 'sessions'"),
            ({"sessions": []}, "field 'sessions': its length must be at least 1"),
            ({"sessions": [{"session_id": "s"}] * 101}, "field 'sessions': expected 1 to 100 sessions, got 101"),
            ({"sessions": [{}]}, "field 'sessions[0].interactions': expected a list of interactions, got nothing"),
            ({"sessions": [{"interactions": [VIEW, {"action": "buy"}]}]}, "field 'sessions[0].interactions[1]"),
            ({"interactions": [{"action": "look"}]}, "field 'interactions[0].action': unknown action 'look'"),
            ({"session": {"interactions": [], "who": 1}}, "field 'session.who': unknown"),
            ({"interactions": [VIEW], "where": "price <"}, "field 'where'"),
            ({"interactions": [VIEW], "where": "size = 1"}, "field 'where'"),
            ({"interactions": [VIEW], "where": "1=1; DROP TABLE products"}, "field 'where'"),
            ({"interactions": [VIEW], "diversity": 2}, "field 'diversity': must be at most 1, got 2"),
            ({"interactions": [VIEW], "max_per": {"category": 0}}, "field 'max_per': must be at least 1"),
            ({"interactions": [VIEW], "max_per": {"nothing": 1}}, "nothing"),
            ({"interactions": [VIEW], "boost": {"p1": 1e9}}, "field 'boost': must be at most 1,000,000"),
            ({"interactions": [VIEW], "exclude": [None]}, "field 'exclude[0]': expected an integer or a string"),
            ({"interactions": [VIEW], "negatives": [{}]}, "field 'negatives[0]'"),
            ({"interactions": [VIEW], "negatives": [True]}, "field 'negatives[0]'"),
        ],
    )
    def test_an_invalid_request_is_told_its_field(self, served: Served, body: Any, message: str) -> None:
        response = served.client.post("/v1/recommend", json=body)
        error = response.json()
        assert (response.status_code, error["error_type"]) == (422, "invalid_request"), error
        assert message in error["error"]
        assert error["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(("option", "task"), [("purchase_intention", "rlp"), ("remaining_length", "pip")])
def test_a_model_for_another_task_is_refused_at_the_start(
    serve: Serve, toy_models: Mapping[str, Path], option: str, task: str
) -> None:
    with pytest.raises(InvalidData, match=f"was fine-tuned for {task}, not for"), serve(**{option: toy_models[task]}):
        pass
