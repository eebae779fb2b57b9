"""Bodies that change products."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.service.http.errors import RequestError
from indexer.service.http.requests.product_changes import delete_change, in_request, upsert_change
from indexer.service.updates.product_writer import MAX_PRODUCTS
from ubm_embed.errors import InvalidData


def body(document: Any) -> bytes:
    return json.dumps(document).encode()


def test_a_product_alone_or_several_keep_what_they_say() -> None:
    one = {"product_id": " 17.0 ", "price": None, "products": ["a column of this name"]}
    change = upsert_change(body(one))
    assert list(change.products) == [{**one, "product_id": "17"}]
    several = {"products": [{"product_id": 17, "title": "shoes"}, {"product_id": "b", "attributes": {"size": 42}}]}
    change = upsert_change(body(several))
    assert list(change.ids) == ["17", "b"]
    assert change.products[1]["attributes"] == {"size": 42}
    assert change.bytes == len(body(several))


def test_ids_to_delete_are_read_by_the_one_rule_and_count_once() -> None:
    assert delete_change(body({"product_ids": ["a", 17, " a", "17.0"]})).deleted == ("a", "17")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "expected a product object, got a list"),
        (17, "expected a product object, got a number"),
        ({}, "field 'product_id': expected an id, got nothing"),
        ({"product_id": "NaN"}, "field 'product_id': expected an id, got 'NaN'"),
        ({"product_id": ["a"]}, "field 'product_id': expected a string, got a list"),
        ({"product_id": "x" * 257}, "field 'product_id': expected at most 256 characters"),
        ({"product_id": "a", "title": 17}, "field 'title': expected a string or null, got a number"),
        ({"product_id": "a", "brand": "x" * 100_001}, "field 'brand': expected at most 100,000 characters"),
        ({"product_id": "a", "stock": 10**30}, "field 'stock': expected a number of fewer digits"),
        ({"products": {}}, "field 'products': expected a list of products, got an object"),
        ({"products": []}, "field 'products': expected 1 to 1,000 products, got 0"),
        ({"products": [{"product_id": "a"}] * (MAX_PRODUCTS + 1)}, "expected 1 to 1,000 products, got 1,001"),
        ({"products": [], "store": "b"}, "field 'store': unknown beside products"),
        ({"products": ["a"]}, r"field 'products\[0\]': expected a product object, got a string"),
        ({"products": [{"product_id": "a"}, {}]}, r"field 'products\[1\].product_id': expected an id"),
        ({"products": [{"product_id": "1"}, {"product_id": 1}]}, r"'products\[1\].product_id': expected a unique id"),
    ],
)
def test_what_is_wrong_with_a_product_is_named(document: Any, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        upsert_change(body(document))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "field 'product_ids': missing"),
        ({"product_ids": []}, "field 'product_ids': its length must be at least 1"),
        ({"product_ids": ["a"] * (MAX_PRODUCTS + 1)}, "field 'product_ids': its length must be at most 1,000"),
        ({"product_ids": ["a", "null"]}, r"field 'product_ids\[1\]': expected an id, got 'null'"),
        ({"product_ids": ["a"], "strict": True}, "field 'strict': unknown"),
    ],
)
def test_what_is_wrong_with_a_deletion_is_named(document: Any, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        delete_change(body(document))


def test_an_error_of_a_row_names_the_product_in_its_request() -> None:
    error = InvalidData("expected a number", row=2, field="price")
    listed = upsert_change(body({"products": [{"product_id": "a"}, {"product_id": "b"}]}))
    assert in_request(error, listed).field == "products[1].price"
    assert in_request(InvalidData("x", row=1), upsert_change(body({"product_id": "a"}))).field is None
    damage = InvalidData("cut off", file="products.arrow", row=2)
    assert in_request(damage, listed) is damage


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["product_id", "products", "title", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.binary(max_size=50) | _JSON.map(body))
def test_any_body_is_read_or_refused(given_body: bytes) -> None:
    for read in (upsert_change, delete_change):
        try:
            change = read(given_body)
        except (InvalidData, RequestError):
            continue
        ids = list(change.ids)
        assert 1 <= len(change) == len(set(ids)) <= MAX_PRODUCTS
        assert all(isinstance(one, str) and one == one.strip() for one in ids)
