"""POST /v1/products, POST /v1/products/delete and DELETE /v1/products/{product_id}."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.service.http.access.key_sources import VARIABLE
from indexer.service.http.access.keys import Keys
from tests.indexer.service.http.served import ODD_ID, Serve, Served
from ubm_embed.errors import Conflict

ROLES = ("read", "write", "admin")
COUNTS = {"new": 0, "changed": 0, "updated": 0, "unchanged": 0, "deleted": 0, "unknown": []}


@pytest.fixture(scope="module")
def store(shop_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the toy shop's store, which these tests change."""
    return Path(shutil.copytree(shop_store, tmp_path_factory.mktemp("changed") / "store"))


@pytest.fixture(scope="module")
def shop(serve: Serve, store: Path) -> Iterator[Served]:
    """A service over it that looks for nothing by itself."""
    with serve(store=str(store), reload_seconds=3_600) as service:
        yield service


def upsert(shop: Served, *products: dict[str, Any]) -> Any:
    return shop.post("/v1/products", products[0] if len(products) == 1 else {"products": products})


def delete(shop: Served, product_id: str) -> Any:
    return shop.client.delete(f"/v1/products/{quote(product_id, safe='')}")


def counts(reply: Any) -> dict[str, Any]:
    """What became of products, as far as something did."""
    return {name: reply[name] for name, none in COUNTS.items() if reply[name] != none}


def match(shop: Served, product_id: str) -> Any:
    """A product as answers show it; None if no answer does."""
    answer = shop.recommend(interactions=[{"action": "search", "query": "shoes"}], k=200)
    return next((one for one in answer["matches"] if one["product_id"] == product_id), None)


def test_a_client_sees_at_once_what_it_changed(shop: Served) -> None:
    reply = upsert(shop, {"product_id": "p2", "price": 1_234.5})
    assert counts(reply) == {"updated": 1}
    answer = shop.recommend(interactions=[{"action": "view", "product_id": "p1"}], where="price > 1000")
    assert [one["product_id"] for one in answer["matches"]] == ["p2"]
    assert (answer["version"], answer["revision"]) == (reply["version"], reply["revision"])


def test_a_new_product_is_found_and_a_deleted_one_is_not(shop: Served) -> None:
    reply = upsert(shop, {"product_id": "new", "title": "green running shoes", "category": "shoes"})
    assert counts(reply) == {"new": 1}
    assert match(shop, "new")["title"] == "green running shoes"
    found = shop.post("/v1/lookup", {"product": {"title": "green running shoes", "category": "shoes"}, "k": 1})
    assert found["matches"][0]["product_id"] == "new"
    assert counts(delete(shop, "new").json()) == {"deleted": 1}
    assert match(shop, "new") is None
    assert shop.recommend(interactions=[{"action": "view", "product_id": "new"}])["unknown"] == ["new"]


def test_fields_that_are_left_out_stay_and_null_clears(shop: Served) -> None:
    before = match(shop, "p3")
    assert counts(upsert(shop, {"product_id": "p3", "price": 7, "category": None})) == {"changed": 1}
    after = match(shop, "p3")
    assert (after["title"], after["category"], after["price"]) == (before["title"], None, 7.0)
    assert counts(upsert(shop, {"product_id": "p3", "price": 7.0})) == {"unchanged": 1}


def test_several_products_are_one_revision(shop: Served) -> None:
    before = shop.client.get("/info").json()
    reply = upsert(
        shop,
        {"product_id": "p4", "title": "violet shirt"},
        {"product_id": "p5", "price": 3.5},
        {"product_id": "more", "attributes": {"colour": "violet"}},
    )
    assert counts(reply) == {"new": 1, "changed": 1, "updated": 1}
    info = shop.client.get("/info").json()
    assert info["revision"] == reply["revision"] == before["revision"] + 1
    assert info["label"] == f"{reply['version']}.{reply['revision']}"
    assert info["revision_rows"] >= 3
    assert info["revision_created"]


def test_ids_may_hold_anything_and_deleting_again_is_404_for_one_and_unknown_for_many(shop: Served) -> None:
    response = delete(shop, ODD_ID)
    assert counts(response.json()) == {"deleted": 1}
    assert response.headers["x-ubm-version"] == str(response.json()["version"])
    assert (delete(shop, ODD_ID).status_code, delete(shop, ODD_ID).json()["error_type"]) == (404, "not_found")
    reply = shop.post("/v1/products/delete", {"product_ids": ["p6", ODD_ID, "never"]})
    assert counts(reply) == {"deleted": 1, "unknown": [ODD_ID, "never"]}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"product_id": "p1", "price": "cheap"}, 422, "field 'price'"),
        ({"products": [{"product_id": "p1"}, {"product_id": "p7", "price": "cheap"}]}, 422, "'products[1].price'"),
        ({"product_id": "p1", "colour": "red"}, 422, "field 'colour'"),
        ({"product_id": "p1", "popularity": 5}, 422, "popularity"),
        ({"product_id": "nobody", "price": 5}, 422, "title"),
        ({"product_id": "p1", "attributes": 17}, 422, "field 'attributes'"),
        ({"product_id": "p1", "price": 10**400}, 422, "field 'price'"),
        ({"price": 5}, 422, "field 'product_id'"),
        ({"products": []}, 422, "field 'products'"),
    ],
)
def test_what_is_refused_names_the_product_and_changes_nothing(
    shop: Served, body: Any, status: int, message: str
) -> None:
    before = shop.client.get("/info").json()["label"]
    response = shop.client.post("/v1/products", json=body)
    assert response.status_code == status, response.text
    assert message in response.json()["error"]
    assert shop.client.get("/info").json()["label"] == before


def test_requests_that_come_together_each_get_their_own_answer(shop: Served) -> None:
    bodies = [{"product_id": f"crowd-{number}", "title": f"hat {number}"} for number in range(20)]
    bodies[7] = {"product_id": "crowd-7", "price": 1.0}  # has no text
    with ThreadPoolExecutor(20) as pool:
        responses = list(pool.map(lambda body: shop.client.post("/v1/products", json=body), bodies))
    assert [one.status_code for one in responses] == [200] * 7 + [422] + [200] * 12
    assert all(counts(one.json()) == {"new": 1} for one in responses if one.status_code == 200)
    assert match(shop, "crowd-3")["title"] == "hat 3"
    assert match(shop, "crowd-7") is None


def test_changes_are_counted(shop: Served) -> None:
    def counted(name: str) -> float:
        lines = shop.client.get("/metrics").text.splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)

    before = counted('ubm_product_changes_total{kind="new"}'), counted("ubm_product_update_seconds_count")
    reply = upsert(shop, {"product_id": "counted", "title": "a hat"})
    assert counted('ubm_product_changes_total{kind="new"}') == before[0] + 1
    assert counted("ubm_product_update_seconds_count") == before[1] + 1
    assert counted("ubm_revision") == reply["revision"]
    assert counted("ubm_revision_rows") >= 1


def test_who_may_change_products(serve: Serve, store: Path) -> None:
    tokens = {role: role * 10 for role in ROLES}
    keys = Keys.read(None, {VARIABLE: " ".join(f"{role}:{role}:{token}" for role, token in tokens.items())})
    with serve(keys=keys, store=str(store)) as shop:
        for role, status in ((None, 401), ("read", 403), ("write", 200), ("admin", 200)):
            headers = {} if role is None else {"Authorization": f"Bearer {tokens[role]}"}
            body = {"product_id": "p1", "price": 1.0}
            assert shop.client.post("/v1/products", json=body, headers=headers).status_code == status
            body = {"product_ids": ["nobody"]}
            assert shop.client.post("/v1/products/delete", json=body, headers=headers).status_code == status
            response = shop.client.delete("/v1/products/nobody", headers=headers)
            assert response.status_code == (404 if status == 200 else status)


def test_pages_of_other_sites_change_nothing(shop: Served) -> None:
    response = shop.client.delete("/v1/products/p1", headers={"Origin": "https://evil.example"})
    assert response.status_code == 403


def test_a_body_beyond_the_limit_is_413(serve: Serve, store: Path) -> None:
    with serve(store=str(store), max_body=1_000) as shop:
        response = shop.client.post("/v1/products", json={"product_id": "p1", "title": "x" * 1_000})
        assert response.status_code == 413


def test_more_changes_than_a_version_may_have_are_409_and_say_what_to_do(
    serve: Serve, shop_store: Path, tmp_path: Path
) -> None:
    with serve(store=str(shutil.copytree(shop_store, tmp_path / "store"))) as shop:
        many = [{"product_id": f"many-{number}", "title": "a hat"} for number in range(1_000)]
        assert counts(upsert(shop, *many)) == {"new": 1_000}
        response = shop.client.post("/v1/products", json={"product_id": "one-more", "title": "a hat"})
        assert (response.status_code, response.json()["error_type"]) == (409, "conflict")
        assert "ubm-embed refresh" in response.json()["error"]
        assert counts(upsert(shop, {"product_id": "many-7", "price": 5.0})) == {"updated": 1}
        assert match(shop, "many-7")["price"] == 5.0


def test_a_store_that_cannot_be_written_goes_on_answering(serve: Serve, store: Path, monkeypatch: Any) -> None:
    with serve(store=str(store)) as shop:
        monkeypatch.setattr("indexer.versions.live._swap", _refuse)
        response = shop.client.post("/v1/products", json={"product_id": "p1", "price": 99.0})
        assert (response.status_code, response.json()["error_type"]) == (503, "store_not_written")
        assert response.headers["retry-after"]
        assert shop.recommend(interactions=[{"action": "view", "product_id": "p1"}])["matches"]
        monkeypatch.setattr("indexer.updates.updater.publish_revision", _lose)
        monkeypatch.setattr("indexer.updates.updater.MAX_TRIES", 1)
        response = shop.client.post("/v1/products", json={"product_id": "p1", "price": 99.0})
        assert (response.status_code, response.json()["error_type"]) == (409, "conflict")
        assert str(store) not in response.text
        monkeypatch.undo()
        assert counts(upsert(shop, {"product_id": "p1", "price": 99.0})) == {"updated": 1}


def _refuse(*_: Any, **__: Any) -> None:
    raise OSError(30, "Read-only file system")


def _lose(*_: Any, **__: Any) -> None:
    raise Conflict("live.json was changed by another process meanwhile")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_PRODUCTS = st.dictionaries(
    st.sampled_from(["title", "category", "attributes", "price", "since", "weight", "popularity", "colour"]), _VALUES
)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(_PRODUCTS, st.sampled_from(["p1", "p8", "hostile"]))
def test_no_product_brings_the_service_down(shop: Served, product: dict[str, Any], product_id: str) -> None:
    response = shop.client.post("/v1/products", json={**product, "product_id": product_id})
    assert response.status_code in (200, 422), response.text
    if response.status_code == 200:
        assert shop.recommend(interactions=[{"action": "view", "product_id": product_id}], k=3)["matches"]
