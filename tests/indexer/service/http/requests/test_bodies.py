"""Bodies that nobody should send: each is refused, and the service goes on."""

from __future__ import annotations

import json

import pytest

from tests.indexer.service.http.served import Served

ROUTES = ("/v1/recommend", "/v1/events", "/v1/lookup", "/v1/predict", "/v1/embeddings")
DEEP = 50_000
MALFORMED = {
    "empty": b"",
    "blank": b" \n",
    "cut": b'{"session_id": "s", "interactions": [',
    "no JSON": b"session_id=s",
    "single quotes": b"{'session_id': 's'}",
    "trailing text": b'{"session_id": "s"} {}',
    "trailing comma": b'{"session_id": "s",}',
    "NaN": b'{"session_id": "s", "k": NaN}',
    "infinity": b'{"session_id": "s", "diversity": -Infinity}',
    "lists in lists": b"[" * DEEP + b"]" * DEEP,
    "objects in objects": b'{"session":' * DEEP + b"1" + b"}" * DEEP,
    "no UTF-8": b'{"session_id": "\xff\xfe"}',
    "UTF-16": '{"session_id": "s"}'.encode("utf-16"),
    "a byte-order mark": b'\xef\xbb\xbf{"session_id": "s"}',
    "a control character": b'{"session_id": "\x01"}',
    "an invalid value before it ends": b'{"k": 0, "events": 0, "input": 0, "product": 0',
}
INVALID = {
    "a number of thousands of digits": b'{"session_id": ' + b"1" * 4_000 + b"}",
    "a number beyond doubles": b'{"session_id": "s", "diversity": 1e999, "input": 1e999, "product_id": 1e999}',
    "a list": b"[[]]",
    "a text": b'"s"',
    "a number": b"17",
    "null": b"null",
    "true": b"true",
    "another name": b'{"\\u202e": 1}',
    "a name of a megabyte": b'{"' + b"x" * 1_000_000 + b'": 1}',
    "a text of a megabyte": b'{"session_id": "' + b"x" * 1_000_000 + b'", "input": {}, "product_id": []}',
    "a hundred thousand lists": b'{"sessions": [' + b"[]," * 100_000 + b"[]]}",
}


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_json_is_malformed(served: Served, path: str, body: bytes) -> None:
    response = served.client.post(path, content=body)
    error = response.json()
    assert (response.status_code, error["error_type"]) == (400, "malformed_request"), error
    assert len(response.content) < 1_000


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("body", INVALID.values(), ids=INVALID)
def test_json_of_another_shape_is_invalid(served: Served, path: str, body: bytes) -> None:
    response = served.client.post(path, content=body)
    assert response.status_code in (400, 422), response.text  # beyond the digits that are read it is no JSON
    assert response.json()["error_type"] in ("malformed_request", "invalid_request")
    assert len(response.content) < 1_000


@pytest.mark.parametrize(
    "content_type", [None, "application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense;;"]
)
def test_the_content_type_does_not_matter(served: Served, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    body = json.dumps({"interactions": [{"action": "view", "product_id": "p1"}]}).encode()
    assert served.client.post("/v1/recommend", content=body, headers=headers).status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "gzip, gzip"])
def test_a_compressed_body_is_refused(served: Served, encoding: str) -> None:
    response = served.client.post("/v1/recommend", content=b"\x1f\x8b", headers={"content-encoding": encoding})
    assert (response.status_code, response.json()["error_type"]) == (415, "unsupported_encoding")


@pytest.mark.parametrize(
    "text",
    [
        "\\ud83d",  # half of an emoji, as a page writes when it cuts within one
        "shoes \\udc5f\\ud83d red",
        "\\\\ud83d",
        "\\u0000",
        "\\u202e\\u2066 right to left",
        "\U0001f45f" * 1_000,
        "'; DROP TABLE products; --",
        "red shoes" * 10_000,
    ],
)
def test_any_text_may_be_searched_for(served: Served, text: str) -> None:
    body = f'{{"session_id": "s", "interactions": [{{"action": "search", "query": "{text}"}}]}}'.encode()
    assert served.client.post("/v1/recommend", content=body).status_code == 200


def test_of_two_members_of_one_name_the_last_one_counts(served: Served) -> None:
    body = b'{"k": 1, "interactions": [{"action": "view", "product_id": "p1"}], "k": 2}'
    assert len(served.client.post("/v1/recommend", content=body).json()["matches"]) == 2


def test_of_a_long_session_the_last_interactions_are_read(served: Served) -> None:
    views = [{"action": "view", "product_id": "p2"}] * 2_000 + [{"action": "view", "product_id": "p1"}] * 8
    answer = served.recommend(interactions=views, include_seen=True)
    assert answer["matches"] == served.recommend(interactions=views[-8:], include_seen=True)["matches"]


def test_more_bytes_than_are_read_are_refused(served: Served) -> None:
    response = served.client.post("/v1/recommend", content=b" " * ((1 << 20) + 1))
    assert (response.status_code, response.json()["error_type"]) == (413, "body_too_large")
