"""GET /livez, /readyz, /info, /metrics, and what operators ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from indexer.service.http.access.keys import Keys
from indexer.service.service import Service
from tests.indexer.service.http.served import Serve, Served


def test_it_lives_and_is_ready(served: Served) -> None:
    assert served.client.get("/livez").json() == {"status": "ok"}
    assert served.client.get("/readyz").json() == {"status": "ready", "version": 1}


def test_it_is_not_ready_while_something_is_wrong(
    served: Served, monkeypatch: pytest.MonkeyPatch, shop_store: Path
) -> None:
    problems = ["8 of 9 products are indexed"]
    monkeypatch.setattr(type(served.service.engine), "readiness", property(lambda engine: problems))
    response = served.client.get("/readyz")
    assert (response.status_code, response.json()["error_type"]) == (503, "not_ready")
    assert response.json()["problems"] == problems
    assert served.client.get("/livez").status_code == 200
    assert "ubm_ready 0.0" in served.client.get("/metrics").text


def test_info_says_what_answers_and_keeps_secrets(served: Served, shop_store: Path) -> None:
    response = served.client.get("/info")
    info = response.json()
    assert (info["version"], info["products"], info["indexed"], info["dimension"]) == (1, 9, 9, 16)
    assert info["limits"]["k"] == 200
    assert info["predictions"] == ["purchase_intention", "remaining_length"]
    assert info["experiment"] is None
    assert info["counts"]["sessions"] == 1
    assert "price" in info["columns"]
    for secret in (str(shop_store), shop_store.parent.name, "products.parquet"):
        assert secret not in response.text


def test_a_service_may_be_told_to_leave_counts_out(serve: Serve) -> None:
    with serve(counts=False) as without:
        assert without.client.get("/info").json()["counts"] is None
        assert "ubm_counts 0.0" in without.client.get("/metrics").text


def test_metrics_have_the_routes_as_they_are_declared(served: Served) -> None:
    served.client.get("/v1/products/p1/similar")
    text = served.client.get("/metrics").text
    assert 'ubm_requests_total{method="GET",route="/v1/products/' in text
    assert "p1" not in text


def test_a_look_for_a_version(served: Served) -> None:
    assert served.client.post("/v1/admin/reload").json() == {
        "changed": False,
        "version": 1,
        "revision": 0,
        "error": None,
    }


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/recommend", "POST"),
        ("DELETE", "/v1/events", "POST"),
        ("POST", "/info", "GET"),
        ("PUT", "/v1/products/p1/similar", "GET"),
    ],
)
def test_another_method_is_told_which_there_are(served: Served, method: str, path: str, allowed: str) -> None:
    response = served.client.request(method, path)
    assert (response.status_code, response.json()["error_type"]) == (405, "method_not_allowed")
    assert allowed in response.headers["allow"]


def test_no_answer_leads_to_a_host_that_the_client_named(served: Served) -> None:
    response = served.client.get("/v1/recommend/", headers={"host": "elsewhere.example"})
    assert response.status_code == 404
    assert served.client.get("/", headers={"host": "elsewhere.example"}).headers["location"] == "docs"


def test_the_routes_need_the_roles_that_the_document_names(serve: Serve) -> None:
    tokens = {role: f"{role}-key-of-at-least-thirty-two-letters" for role in ("read", "write", "admin")}
    environment = {"UBM_EMBED_API_KEYS": ",".join(f"{role}:{role}:{token}" for role, token in tokens.items())}
    roles = list(tokens)
    with serve(keys=Keys.read(None, environment)) as served:
        for path, methods in served.client.get("/openapi.json").json()["paths"].items():
            for method, operation in methods.items():
                needed = operation.get("x-required-role")
                statuses = [
                    served.client.request(
                        method, path.format(product_id="nobody"), headers={"authorization": f"Bearer {token}"}
                    ).status_code
                    for token in tokens.values()
                ]
                refused = 0 if needed is None else roles.index(needed)
                assert [status == 403 for status in statuses] == [True] * refused + [False] * (3 - refused), path
                assert (served.client.request(method, path.format(product_id="nobody")).status_code == 401) == bool(
                    needed
                )


def test_a_store_that_is_damaged_while_it_serves_is_503(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from ubm_embed.errors import InvalidData

    async def fail(*arguments: object, **options: object) -> None:
        raise InvalidData("it was cut short", file="versions/1/rows.arrow")

    monkeypatch.setattr(type(served.service.engine), "answer", fail)
    response = served.client.post("/v1/recommend", json={"interactions": []})
    assert (response.status_code, response.json()["error_type"]) == (503, "store_damaged")
    assert "rows.arrow" not in response.text


def test_a_bug_is_500_and_tells_nothing(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("the secret of it")

    monkeypatch.setattr(Service, "reload_everywhere", fail)
    response = served.client.post("/v1/admin/reload")
    assert (response.status_code, response.json()["error_type"]) == (500, "internal_error")
    assert "secret" not in response.text
