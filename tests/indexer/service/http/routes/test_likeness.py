"""POST /v1/lookup and GET /v1/products/{product_id}/similar."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.indexer.service.http.served import ODD_ID, Served
from ubm_embed.data.session import MAX_CHARACTERS


def ids(answer: Any) -> list[str]:
    return [match["product_id"] for match in answer["matches"]]


def test_a_product_by_its_id_is_like_others_but_not_itself(served: Served) -> None:
    looked_up = served.post("/v1/lookup", {"product_id": "p1", "k": 8})
    similar = served.client.get("/v1/products/p1/similar", params={"k": 8}).json()
    assert ids(looked_up) == ids(similar)
    assert "p1" not in ids(similar)
    assert similar["answer_id"]


def test_a_product_by_its_text(served: Served) -> None:
    product = {"title": "red running shoes", "category": "shoes", "attributes": {"colour": "red", "size": "42"}}
    assert ids(served.post("/v1/lookup", {"product": product, "k": 1})) == ["p1"]


def test_the_products_of_a_search(served: Served) -> None:
    looked_up = served.post("/v1/lookup", {"query": "shirt", "k": 3, "where": "category = 'shirts'"})
    search = [{"action": "search", "query": "shirt"}]
    recommended = served.post("/v1/recommend", {"interactions": search, "k": 3, "where": "category = 'shirts'"})
    assert looked_up["matches"] == recommended["matches"]
    assert looked_up["matches"]


@pytest.mark.parametrize("path", [quote(ODD_ID, safe=""), quote(ODD_ID, safe="/")])
def test_an_id_may_hold_anything(served: Served, path: str) -> None:
    response = served.client.get(f"/v1/products/{path}/similar")
    assert response.status_code == 200, response.text
    assert ODD_ID not in ids(response.json())


def test_rules_in_a_url(served: Served) -> None:
    query = {"k": "5", "where": "category = 'shirts'", "exclude": ["p3", "p4"], "diversity": "0.5"}
    assert ids(served.client.get("/v1/products/p1/similar", params=query).json()) == ["p8"]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/v1/products/nothing/similar", 404, "no product 'nothing'"),
        ("/v1/products/%00/similar", 404, "no product"),
        ("/v1/products/%ff%fe/similar", 404, "no product"),
        ("/v1/products//similar", 404, "no product"),
        ("/v1/products/p1/similar?k=0", 422, "field 'k': must be at least 1"),
        ("/v1/products/p1/similar?k=many", 422, "field 'k': expected an integer, got 'many'"),
        ("/v1/products/p1/similar?k=201", 422, "field 'k'"),
        ("/v1/products/p1/similar?K=1", 422, "field 'K': unknown; did you mean 'k'?"),
        ("/v1/products/p1/similar?diversity=nan", 422, "field 'diversity'"),
        ("/v1/products/p1/similar?where=%27", 422, "field 'where'"),
        ("/v1/products/p1/similar?" + "&".join(["k=x"] * 1_001), 422, "field 'k'"),
        ("/v1/products/p1", 405, "expected DELETE"),
        ("/v1/product/p1", 404, "no such route"),
    ],
)
def test_refusals(served: Served, path: str, status: int, message: str) -> None:
    response = served.client.get(path)
    assert response.status_code == status, response.text
    assert message in response.json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({}, 422, "one of product, product_id and query"),
        ({"product": {"title": "x"}, "product_id": "p1"}, 422, "one of product, product_id and query"),
        ({"query": "shoes", "product_id": "p1"}, 422, "one of product, product_id and query"),
        ({"query": " "}, 422, "field 'query'"),
        ({"query": "a" * (MAX_CHARACTERS + 1)}, 422, "field 'query'"),
        ({"product": {}}, 422, "field 'product'"),
        ({"product": {"title": 17}}, 422, "field 'product.title'"),
        ({"product_id": "nothing"}, 404, "no product 'nothing'"),
        ({"product_id": "p1", "explain": True}, 422, "field 'explain': unknown"),
        ({"product_id": "p1", "session_id": "undefined"}, 422, "field 'session_id'"),
    ],
)
def test_lookups_that_are_refused(served: Served, body: Any, status: int, message: str) -> None:
    response = served.client.post("/v1/lookup", json=body)
    assert response.status_code == status, response.text
    assert message in response.json()["error"]


def test_clicks_on_similar_products_count_for_their_session(served: Served) -> None:
    answer = served.client.get("/v1/products/p1/similar", params={"session_id": "on-a-product"}).json()
    assert answer["session_id"] == "on-a-product"
    before = served.client.get("/v1/admin/experiments").json()["groups"][0]["clicks"]
    served.post("/v1/events", {"session_id": "on-a-product", "action": "view", "product_id": ids(answer)[0]})
    assert served.client.get("/v1/admin/experiments").json()["groups"][0]["clicks"] == before + 1


class TestPredictions:
    def test_one_session_and_several(self, served: Served) -> None:
        session = {"interactions": [{"action": "add", "product_id": "p1"}]}
        one = served.post("/v1/predict", session)
        assert 0 <= one["purchase_intention"] <= 1
        assert isinstance(one["remaining_length"], float)
        several = served.post("/v1/predict", {"sessions": [session, {"session_id": "nobody"}]})["predictions"]
        assert several[0] == one
        assert several[1]["fallback"] == "session not kept"
        assert "purchase_intention" not in several[1]

    def test_they_are_those_of_answers(self, served: Served) -> None:
        session = {"interactions": [{"action": "search", "query": "red shoes"}]}
        assert (
            served.post("/v1/predict", session)["purchase_intention"]
            == (served.recommend(**session)["purchase_intention"])
        )
