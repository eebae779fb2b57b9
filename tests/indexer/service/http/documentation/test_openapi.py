"""The OpenAPI document is valid and true: requests that are made from it, and such as break it, get what it says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import openapi_spec_validator
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from tests.indexer.service.http.served import Serve, Served

CHECKS = (
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
)


@pytest.fixture(scope="module")
def served(
    serve: Serve, shop_store: Path, toy_models: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A service over a copy of the toy shop, whose products these requests change."""
    store = shutil.copytree(shop_store, tmp_path_factory.mktemp("changed") / "store")
    folders = {"purchase_intention": toy_models["pip"], "remaining_length": toy_models["rlp"]}
    with serve(store=str(store), **folders) as service:
        yield service


@pytest.fixture(scope="module")
def document(served: Served) -> Any:
    return served.client.get("/openapi.json").json()


def test_the_document_is_valid(document: Any) -> None:
    openapi_spec_validator.validate(document)


def test_all_operations_have_names_of_their_own(document: Any) -> None:
    operations = [one for methods in document["paths"].values() for one in methods.values()]
    assert len({one["operationId"] for one in operations}) == len(operations) == 15


def test_the_limits_are_those_of_the_service(document: Any) -> None:
    properties = document["components"]["schemas"]["RecommendBody"]["properties"]
    assert properties["k"]["maximum"] == 200
    assert {"type": "array", "maxItems": 100}.items() <= properties["sessions"]["anyOf"][0].items()


def test_examples_get_answers_as_described(served: Served, document: Any) -> None:
    for path, methods in document["paths"].items():
        if "post" not in methods or "requestBody" not in methods["post"]:
            continue
        for name, example in methods["post"]["requestBody"]["content"]["application/json"]["examples"].items():
            response = served.client.post(path, json=example["value"])
            assert response.status_code == 200, (path, name, response.text)
            schema = methods["post"]["responses"]["200"]["content"]["application/json"]["schema"]
            jsonschema.validate(response.json(), {**schema, "components": document["components"]})


def _ask(served: Served, document: Any, mode: GenerationMode, count: int) -> int:
    """Send requests to each operation, and compare what comes back with the document. How many requests they were."""
    load_all_checks()
    asked = 0
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
            continue  # nothing could be wrong

        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            nonlocal asked
            asked += 1
            case.call_and_validate(base_url=served.address, checks=list(CHECKS))

        ask()
    return asked


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_requests_get_what_the_document_says(served: Served, document: Any, mode: GenerationMode) -> None:
    _ask(served, document, mode, 8)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_thousands_of_requests_get_what_the_document_says(served: Served, document: Any, mode: GenerationMode) -> None:
    assert _ask(served, document, mode, 500) > 2_000
