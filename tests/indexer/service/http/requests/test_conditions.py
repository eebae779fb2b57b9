"""Conditions that nobody should write: each is answered or refused with its field, and the service goes on."""

from __future__ import annotations

import json

import pytest

from tests.indexer.service.http.served import Served

VIEW = [{"action": "view", "product_id": "p1"}]
REFUSED = {
    "another statement": "price < 5; DROP TABLE products",
    "a comment": "price < 5 -- ",
    "a query within": "product_id IN (SELECT product_id FROM products)",
    "a file": "product_id IN (SELECT * FROM '/etc/passwd')",
    "a function that waits": "pg_sleep(10) IS NULL",
    "a text of gigabytes": "length(repeat(title, 1000000000)) > 5",
    "a text that grows with each step": f"length(replace(replace(title, 's', '{'s' * 900}'), 's', '{'s' * 900}')) > 5",
    "a list of gigabytes": "array_length(make_array(title, title)) > 5",
    "a regular expression of gigabytes": "regexp_like(title, '((((a{100}){100}){100}){100})')",
    "half of a regular expression": "regexp_like(title, '(')",
    "a column that is not there": "x" * 9_990 + " = 1",
    "a thousand columns that are not there": " OR ".join(f"c{row} = 1" for row in range(900)),
    "too many characters": "price < 5 OR " * 800 + "in_stock",
    "brackets within brackets": "(" * 4_000 + "price < 5" + ")" * 4_000,
    "a chain": "NOT " * 2_000 + "price < 5",
    "a control character": "price\x00 < 5",
    "from right to left": "price \u202e < 5",
    "nothing": " ",
}
ANSWERED = {
    "a column and a thousand values": "product_id IN (" + ",".join(f"'{row}'" for row in range(1_500)) + ")",
    "a number of thousands of digits": "price < " + "9" * 5_000,
    "an emoji": "title <> '\U0001f45f'",
    "half an emoji": "title <> '\ud83d'",
    "right to left in a text": "title <> '\u202e'",
    "a quote": "title <> '''; DROP TABLE products; --'",
    "a regular expression that others go back in": "NOT regexp_like(title, '(a+)+$(b|c*)*d{1,50}')",
    "a hundred patterns": " AND ".join(f"title NOT ILIKE '%{row}%a%b%c%d%e%f'" for row in range(200)),
}


@pytest.mark.parametrize("where", REFUSED.values(), ids=REFUSED)
def test_what_is_no_condition_is_refused(served: Served, where: str) -> None:
    response = served.client.post("/v1/recommend", json={"interactions": VIEW, "where": where})
    assert (response.status_code, response.json()["error_type"]) == (422, "invalid_request"), response.text
    assert response.json()["error"].startswith("field 'where'")
    assert len(response.content) < 1_500


@pytest.mark.parametrize("where", ANSWERED.values(), ids=ANSWERED)
def test_what_is_one_is_answered(served: Served, where: str) -> None:
    body = json.dumps({"interactions": VIEW, "where": where}).encode()
    response = served.client.post("/v1/recommend", content=body)
    assert response.status_code == 200, response.text


def test_hundreds_of_conditions_are_answered(served: Served) -> None:
    for price in range(300):
        assert served.recommend(interactions=VIEW, where=f"price > {price}.5", k=1)["version"]
