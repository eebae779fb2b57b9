from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.ubm_embed.data.logs.reading import NOON, collect, dropped, kept, write
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.logs.ingestion import ingest

TRACKED = {"product_id": "p1", "sku": "k1", "name": "Red shoe", "brand": "Acme", "category": "Shoes", "price": 12.5}


def segment(event: str, number: int, properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": event,
        "messageId": f"m{number}",
        "anonymousId": "a",
        "userId": None,
        "timestamp": f"2024-01-01T12:{number:02}:00.000Z",
        "properties": properties,
    } | more


CALLS = [
    segment("Page Viewed", 0, {"path": "/"}),
    segment("Products Searched", 1, {"query": " shoes "}),
    segment("Product Viewed", 2, TRACKED),
    segment("Product Clicked", 3, {"sku": 77, "name": "Hat"}),
    segment("Product Added", 4, TRACKED),
    segment("Order Completed", 5, {"order_id": 1, "products": [TRACKED, {"sku": "k2", "name": "Hat", "price": "3"}]}),
    segment("Order Completed", 5, {"order_id": 1, "products": [TRACKED, {"sku": "k2", "name": "Hat", "price": "3"}]}),
    segment("Product Viewed", 6, {"name": "nameless"}),
    segment("Products Searched", 7, {}),
    segment("Product Viewed", 8, TRACKED, timestamp=None),
    segment("Product Viewed", 9, TRACKED, anonymousId=None),
    segment("Order Completed", 10, {"products": []}),
]


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_segment_calls_become_actions(tmp_path: Path, suffix: str) -> None:
    frame = collect(write(tmp_path / f"log.{suffix}", CALLS), "segment")
    assert kept(frame, "action", "product_id", "query") == [
        ("search", None, "shoes"),
        ("view", "p1", None),
        ("view", "77", None),
        ("add", "p1", None),
        ("buy", "p1", None),
        ("buy", "k2", None),
        ("buy", "p1", None),
        ("buy", "k2", None),
    ]
    assert dropped(frame) == {
        "other event": 1,
        "no product id": 2,
        "no search phrase": 1,
        "no timestamp": 1,
        "no session or user": 1,
    }


def test_segment_products_carry_text(tmp_path: Path) -> None:
    frame = collect(write(tmp_path / "log.jsonl", CALLS), "segment")
    assert kept(frame, "title", "category", "attributes", "price")[-2:] == [
        ("Red shoe", "Shoes", [{"name": "brand", "value": "Acme"}], 12.5),
        ("Hat", None, None, 3.0),
    ]


def test_segment_reads_parquet_with_only_some_fields(tmp_path: Path) -> None:
    call = {"event": "Product Viewed", "userId": "u", "originalTimestamp": NOON, "properties": {"product_id": 7}}
    frame = collect(write(tmp_path / "log.parquet", [call]), "segment")
    assert kept(frame, "user_id", "timestamp", "product_id") == [("u", NOON, "7")]


LISTS = [["p1", "p2"], "p1,p2", 3]
ODD = [[], {}, None, "none", 7, {"price": {"value": 3}}, *({"products": products} for products in LISTS)]


@pytest.mark.parametrize("properties", ODD)
def test_what_is_odd_about_another_call_does_not_matter(tmp_path: Path, properties: Any) -> None:
    calls = [segment("Filter Applied", 1, properties), segment("Product Viewed", 2, TRACKED)]
    calls += [{"type": "page", "messageId": "m3", "properties": properties}]
    for suffix in ("json", "jsonl"):
        frame = collect(write(tmp_path / f"log.{suffix}", calls), "segment")
        assert frame["dropped"].to_list() == ["other event", None, "other event"]


def test_an_odd_call_costs_itself_alone(tmp_path: Path) -> None:
    odd = [segment("Product Viewed", 1, "none"), segment("Order Completed", 2, {"products": [TRACKED, "p2"]})]
    odd += [segment("Product Viewed", 3, TRACKED | {"name": {"en": "Shoe"}}), segment("Product Viewed", 4, [])]
    frame = collect(write(tmp_path / "log.jsonl", [*odd, segment("Product Viewed", 5, TRACKED)]), "segment")
    reasons = frame.group_by("row", maintain_order=True).agg(pl.col("dropped").first())["dropped"].to_list()
    assert reasons == ["odd record", "odd record", "odd record", "no product id", None]


def test_a_category_may_be_a_list_and_half_an_emoji_is_no_end(tmp_path: Path) -> None:
    listed = TRACKED | {"category": ["Shoes", "Men"], "name": "Boot \ud83d"}
    low = TRACKED | {"product_id": "p2", "name": "\ude00 Boot"}
    log = write(tmp_path / "log.jsonl", [segment("Product Viewed", 1, listed), segment("Product Viewed", 2, low)])
    frame = collect(log, "segment")
    assert frame["category"].to_list() == ["Shoes > Men", "Shoes"]
    assert not frame["title"].str.contains("\0").any()


def test_the_first_of_two_ids_that_is_one_is_taken(tmp_path: Path) -> None:
    calls = [
        segment("Product Viewed", number, {"product_id": first, "sku": "k"})
        for number, first in enumerate(["undefined", "", " ", None, "p"])
    ]
    assert collect(write(tmp_path / "log.jsonl", calls), "segment")["product_id"].to_list() == ["k"] * 4 + ["p"]


def test_a_segment_log_becomes_one_corpus_of_people(tmp_path: Path) -> None:
    order = {"order_id": "o", "products": [TRACKED]}
    calls = [
        segment("Product Viewed", 0, TRACKED),
        segment("Product Added", 1, TRACKED, userId="u"),
        segment("Order Completed", 2, order, userId="u", anonymousId=None),  # from the server
        segment("Order Completed", 3, order, userId="u"),  # and again from the page
        segment("Product Viewed", 0, TRACKED),  # sent again
        segment("Product Viewed", 4, {"sku": "k", "name": "Hat"}, userId=None),
    ]
    report = ingest([write(tmp_path / "log.jsonl", calls)], kind="segment", out=tmp_path / "out")
    corpus = Corpus.open(tmp_path / "out")
    assert corpus.interactions.select("action", "product_id", "user_id").rows() == [
        ("view", "p1", "u"),
        ("add", "p1", "u"),
        ("buy", "p1", "u"),
        ("view", "k", "u"),
    ]
    assert report.sessions == 1
    assert report.dropped == {"duplicate message": 1, "duplicate order": 1}


def test_a_time_that_is_none_is_lost_unless_another_is_there(tmp_path: Path) -> None:
    calls = [
        segment("Product Viewed", 1, TRACKED, timestamp="noon", originalTimestamp="2024-01-01T12:00:00Z"),
        segment("Product Viewed", 2, TRACKED, timestamp="noon"),
    ]
    frame = collect(write(tmp_path / "log.jsonl", calls), "segment")
    assert frame["unread_timestamp"].to_list() == [None, "noon"]
    assert frame["timestamp"].to_list() == [NOON, None]
