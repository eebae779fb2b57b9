"""Events that are dropped, and copies of orders, say whose a device is."""

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest

from tests.ubm_embed.data.logs.reading import NOON, write
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.logs.event_table import CLEAN_SCHEMA, NO_PRODUCT, OTHER_EVENT
from ubm_embed.data.logs.ingestion import ingest
from ubm_embed.data.logs.sightings import find_sightings
from ubm_embed.data.mappings.mapping import Mapping

MAPPING = """
[log.columns]
user_id = "user"
anonymous_id = "device"
timestamp = "time"
action = "event"
product_id = "product"
title = "product"
[log.actions]
view = "view"
buy = "buy"
login = "drop"
[[log.drop]]
path = "robot"
is_in = ["yes"]
"""


def found(*events: dict[str, Any], rows: int = 100) -> set[tuple[str, str]]:
    """The devices and users that these events show together."""
    filled = [{"order": number, "timestamp": NOON, **event} for number, event in enumerate(events)]
    log = pl.LazyFrame(filled, schema={"order": pl.UInt32, **CLEAN_SCHEMA})
    with TemporaryDirectory() as folder:
        seen = find_sightings(log, Path(folder), rows=rows)
        return set() if seen is None else set(seen.select("anonymous_id", "user_id").collect().rows())


def event(device: str | None, user: str | None, **more: Any) -> dict[str, Any]:
    return {"anonymous_id": device, "user_id": user, **more}


def order(device: str | None, user: str | None, number: str) -> dict[str, Any]:
    return event(device, user, action="buy", order_id=number)


def persons(log: Path, kind: str | Mapping) -> list[tuple[str, str]]:
    """Action and person of each interaction, which must be of one session."""
    ingest([log], kind=kind, out=log.parent / "out")
    written = Corpus.open(log.parent / "out").interactions
    assert written["session_id"].n_unique() == 1
    return written.select("action", "user_id").rows()


def test_events_that_are_dropped_tell_but_not_those_of_robots() -> None:
    events = [
        event("a", "u", dropped=OTHER_EVENT),
        event("b", "u", dropped=NO_PRODUCT, action="view"),
        event("c", "u", dropped="robot", action="view"),
        event("d", None, dropped=OTHER_EVENT),
        event(None, "u", dropped=OTHER_EVENT),
    ]
    assert found(*events) == {("a", "u"), ("b", "u")}
    assert found(*events[3:4]) == found(*events[4:]) == set()


@pytest.mark.parametrize("rows", [1, 100])
def test_two_copies_of_an_order_are_of_one_person(rows: int) -> None:
    events = [
        *(order("a", None, "1"), order(None, "u", "1")),
        *(order("b", "u2", "2"), order("server", None, "2")),
        *(order("c", "c", "3"), order(None, "u3", "3")),
        *(order("d", None, "4"), order(None, "u4", "4"), order(None, "u5", "4")),  # a number of two users
        *(order(device, "u6" if device == "e" else None, "test") for device in "efg"),  # and of three devices
        *(order("h", None, "5"), order(None, "u7", "6")),
    ]
    expected = {("a", "u"), ("b", "u2"), ("server", "u2"), ("c", "u3")}
    assert found(*events, rows=rows) == expected


GA4 = {"user_pseudo_id": "a", "user_id": None, "event_params": [{"key": "ga_session_id", "value": {"int_value": 5}}]}
SOLD = {"items": [{"item_id": "p", "item_name": "Red shoe"}]}


def ga4(name: str, second: int, **more: Any) -> dict[str, Any]:
    microseconds = int((NOON + timedelta(seconds=second)).timestamp()) * 1_000_000
    return {"event_name": name, "event_timestamp": microseconds, **GA4, "items": [], **more}


@pytest.mark.parametrize("name", ["login", "page_view"])
def test_ga4_events_of_other_kinds(tmp_path: Path, name: str) -> None:
    rows = [
        ga4("view_item", 0, **SOLD),
        ga4(name, 1, user_id="u"),
        ga4("purchase", 2, **SOLD, user_pseudo_id=None, user_id="u", event_params=[]),
    ]
    assert persons(write(tmp_path / "log.jsonl", rows), "ga4") == [("view", "u"), ("buy", "u")]


def test_a_ga4_purchase_that_the_server_sends_under_a_name_of_its_own(tmp_path: Path) -> None:
    paid = {**SOLD, "ecommerce": {"transaction_id": "t"}}
    rows = [
        ga4("view_item", 0, **SOLD),
        ga4("purchase", 1, **paid, user_pseudo_id="server.1", event_params=[]),
        ga4("purchase", 2, **paid),
    ]
    assert persons(write(tmp_path / "log.jsonl", rows), "ga4") == [("view", "a"), ("buy", "a")]


VIEWED = {"type": "track", "event": "Product Viewed", "properties": {"product_id": "p", "name": "Red shoe"}}
ORDERED = {"type": "track", "event": "Order Completed", "properties": {"order_id": "o", "products": [{"sku": "p"}]}}
IN_CAMEL_CASE = ORDERED | {"properties": {"orderId": "o", "products": [{"sku": "p"}]}}


@pytest.mark.parametrize(
    "calls",
    [
        [ORDERED | {"userId": "u"}, {"type": "identify", "anonymousId": "a", "userId": "u"}],
        [ORDERED | {"userId": "u"}, {"type": "track", "event": "Signed In", "anonymousId": "a", "userId": "u"}],
        [ORDERED | {"userId": "u"}, ORDERED | {"anonymousId": "a"}],
        [ORDERED | {"userId": "u"}, ORDERED | {"anonymousId": "a", "userId": "u"}],
        [IN_CAMEL_CASE | {"userId": "u"}, IN_CAMEL_CASE | {"anonymousId": "a"}],
    ],
)
def test_segment_calls(tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    rows = [
        call | {"timestamp": f"2024-01-01T12:0{minute}:00Z"}
        for minute, call in enumerate([VIEWED | {"anonymousId": "a"}, *calls])
    ]
    assert persons(write(tmp_path / "log.jsonl", rows), "segment") == [("view", "u"), ("buy", "u")]


def test_an_event_that_a_mapping_drops(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text(
        "user,device,time,event,product,robot\n"
        ",a,2024-01-01T12:00:00Z,view,p,\n"
        "u,a,2024-01-01T12:01:00Z,login,,\n"
        "v,a,2024-01-01T12:01:30Z,view,p,yes\n"
        "u,,2024-01-01T12:02:00Z,buy,p,\n"
    )
    (tmp_path / "map.toml").write_text(MAPPING)
    assert persons(log, Mapping.open(tmp_path / "map.toml")) == [("view", "u"), ("buy", "u")]


@pytest.mark.parametrize("told", ["search,", "view,undefined"])
def test_an_event_that_lacks_what_it_acts_on(tmp_path: Path, told: str) -> None:
    log = tmp_path / "log.csv"
    log.write_text(
        "user_id,anonymous_id,timestamp,action,product_id,title\n"
        ",a,2024-01-01T12:00:00Z,view,p,Red shoe\n"
        f" u , a ,2024-01-01T12:01:00Z,{told},\n"
        "u,,2024-01-01T12:02:00Z,buy,p,\n"
    )
    assert persons(log, "native") == [("view", "u"), ("buy", "u")]
