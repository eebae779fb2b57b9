"""What the documentation tells to type is what the service reads."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from indexer.service.experiments.experiment import Experiment
from indexer.service.http.requests.bodies import lookup_body, recommend_body
from indexer.service.http.requests.decoding import any_body
from indexer.service.http.requests.product_changes import delete_change, upsert_change
from indexer.service.sessions.event_parser import parse_events

ROOT = Path(__file__).parents[3]
SERVICE = (ROOT / "docs" / "service.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
REQUESTS = re.findall(r"curl localhost:8080(/v1/[\w/]+) -d '(.*?)'", SERVICE + README, re.DOTALL)
READERS: dict[str, Callable[[bytes], Any]] = {
    "/v1/recommend": recommend_body.decode,
    "/v1/lookup": lookup_body.decode,
    "/v1/products": upsert_change,
    "/v1/products/delete": delete_change,
    "/v1/events": lambda body: parse_events(any_body.decode(body), 1.0),
}


@pytest.mark.parametrize(("route", "body"), REQUESTS)
def test_the_service_reads_each_request_that_is_shown(route: str, body: str) -> None:
    READERS[route](body.encode())


def test_requests_to_all_of_these_routes_are_shown() -> None:
    assert {route for route, _ in REQUESTS} == READERS.keys()


def test_the_experiment_that_is_shown_is_one(tmp_path: Path) -> None:
    (shown,) = re.findall(r"^    name = .*?(?=\n\S)", SERVICE, re.DOTALL | re.MULTILINE)
    file = tmp_path / "experiment.toml"
    file.write_text(textwrap.dedent(shown), "utf-8")
    assert [arm.name for arm in Experiment.read(file).arms] == ["control", "diverse"]
