"""Enriched events of Snowplow: what the sample of `named/` does not show."""

import csv
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.ubm_embed.data.logs.reading import collect, dropped, kept
from ubm_embed.data.logs.event_kind import EventKind
from ubm_embed.data.logs.readers import READERS
from ubm_embed.errors import InvalidData

READ = READERS[EventKind.SNOWPLOW_ENRICHED]
WHEN = {"domain_sessionid": "s", "derived_tstamp": "2024-03-01 10:00:00"}
ENHANCED = "iglu:com.google.analytics.enhanced-ecommerce/"
ECOMMERCE = "iglu:com.snowplowanalytics.snowplow.ecommerce/"


def _events(file: Path, **event: Any) -> pl.DataFrame:
    file.write_text(json.dumps({"event_id": "e", "event_name": "other", **WHEN, **event}) + "\n")
    return READ(file).collect()


def _of(schema: str, **data: Any) -> dict[str, Any]:
    return {"schema": schema, "data": data}


@pytest.mark.parametrize(
    ("schema", "action"),
    [
        (f"{ECOMMERCE}snowplow_ecommerce_action/jsonschema/1-0-2", "add"),
        ("iglu:com.acme/basket/jsonschema/1-0-0", None),
    ],
)
def test_only_the_e_commerce_schema_says_an_action(tmp_path: Path, schema: str, action: str | None) -> None:
    events = _events(tmp_path / "log.jsonl", unstruct_event={"data": _of(schema, type="add_to_cart")})
    assert events["action"].to_list() == [action]


def test_only_entities_of_the_e_commerce_schema_are_products(tmp_path: Path) -> None:
    entities = [
        _of("iglu:com.acme/page/jsonschema/1-0-0", id="page"),
        _of(f"{ECOMMERCE}product/jsonschema/1-0-0", id="p"),
    ]
    events = _events(tmp_path / "log.jsonl", event_name="product_view", contexts={"data": entities})
    assert events["product_id"].to_list() == ["p"]


def test_a_table_without_events_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"user": "u"}\n')
    with pytest.raises(InvalidData, match="event_id"):
        READ(tmp_path / "log.jsonl")


def test_a_line_with_other_columns_is_an_error_with_its_row(tmp_path: Path) -> None:
    (tmp_path / "log.tsv").write_text("\t" * 130 + "\n" + "\t" * 129 + "\n")
    with pytest.raises(InvalidData, match="row 2: expected 131 fields"):
        READ(tmp_path / "log.tsv").collect()


@pytest.mark.parametrize(
    ("theirs", "action"),
    [
        ("detail", "view"),
        ("click", "view"),
        ("add", "add"),
        ("remove", "remove"),
        ("purchase", "buy"),
        ("refund", None),
    ],
)
def test_the_plugin_for_enhanced_e_commerce_is_read(tmp_path: Path, theirs: str, action: str | None) -> None:
    entities = [
        _of(f"{ENHANCED}productFieldObject/jsonschema/1-0-0", id="p", name="Shoe", price=3, brand="Acme"),
        _of(f"{ENHANCED}actionFieldObject/jsonschema/1-0-0", id="T1"),
    ]
    described = {"data": _of(f"{ENHANCED}action/jsonschema/1-0-0", action=theirs)}
    events = _events(tmp_path / "log.jsonl", event_name="action", unstruct_event=described, contexts={"data": entities})
    assert events["action"].to_list() == [action]
    if action is not None:
        assert events.select("product_id", "title", "price", "order_id").rows() == [("p", "Shoe", "3", "T1")]


@pytest.mark.parametrize("name", ["add", "click", "purchase"])
def test_an_event_of_the_shop_s_own_is_no_action(tmp_path: Path, name: str) -> None:
    assert _events(tmp_path / "log.jsonl", event_name=name)["action"].to_list() == [None]


@pytest.mark.parametrize(("name", "action"), [("add_to_cart", "add"), ("remove_from_cart", "remove")])
def test_carts_of_old_have_their_product_in_the_event(tmp_path: Path, name: str, action: str) -> None:
    data = _of(f"iglu:com.snowplowanalytics.snowplow/{name}/jsonschema/1-0-0", sku="p", name="Shoe", unitPrice=5.5)
    events = _events(tmp_path / "log.jsonl", event_name=name, unstruct_event={"data": data})
    assert events.select("action", "product_id", "title", "price").rows() == [(action, "p", "Shoe", "5.5")]


def test_the_head_of_an_order_whose_lines_are_events_is_no_purchase(tmp_path: Path) -> None:
    head = {"event_id": "e1", "event_name": "transaction", "tr_orderid": "T1", **WHEN}
    line = {"event_id": "e2", "event_name": "transaction_item", "ti_orderid": "T1", "ti_sku": "p", **WHEN}
    (tmp_path / "log.jsonl").write_text(f"{json.dumps(head)}\n{json.dumps(line)}\n")
    frame = collect(tmp_path / "log.jsonl", "snowplow_enriched")
    assert (kept(frame, "action", "product_id"), dropped(frame)) == ([("buy", "p")], {"other event": 1})


@pytest.mark.parametrize("header", [True, False])
def test_enriched_events_are_tables_of_131_columns(tmp_path: Path, header: bool) -> None:
    """Quotes in them are characters like any other; a table may have its header in capitals."""
    cells = [""] * 131
    cells[3], cells[6], cells[15], cells[123] = "2024-03-01 10:00:00.000", "e1", "u", "s"
    cells[67:72], cells[126] = ["T1", "p", 'Cap 5"', "Caps", "9.99"], "transaction_item"
    names = [f"C{number}" for number in range(131)]
    names[3], names[6], names[15], names[123] = "COLLECTOR_TSTAMP", "EVENT_ID", "DOMAIN_USERID", "DOMAIN_SESSIONID"
    names[67:72], names[126] = ["TI_ORDERID", "TI_SKU", "TI_NAME", "TI_CATEGORY", "TI_PRICE"], "EVENT_NAME"
    with (tmp_path / "log.tsv").open("w", newline="") as file:
        if header:
            csv.writer(file, delimiter="\t").writerows([names, cells])
        else:
            file.write("\t".join(cells) + "\n")
    frame = collect(tmp_path / "log.tsv", "snowplow_enriched")
    columns = ("session_id", "anonymous_id", "timestamp", "action", "product_id", "title", "price", "order_id")
    assert kept(frame, *columns) == [("s", "u", datetime(2024, 3, 1, 10), "buy", "p", 'Cap 5"', 9.99, "T1")]


def test_records_may_lack_fields(tmp_path: Path) -> None:
    """A table that was written from a few events has only the fields of these."""
    row = {
        "event_id": "e",
        "domain_sessionid": "s",
        "event_name": "other",
        "derived_tstamp": datetime(2024, 3, 1),
        "contexts": {"data": [_of(f"{ECOMMERCE}product/jsonschema/1-0-0", id="p")]},
        "unstruct_event": {"data": _of(f"{ECOMMERCE}snowplow_ecommerce_action/jsonschema/1-0-2", type="add_to_cart")},
    }
    pl.DataFrame([row]).write_parquet(tmp_path / "log.parquet")
    assert kept(collect(tmp_path / "log.parquet", "snowplow_enriched"), "action", "product_id") == [("add", "p")]
