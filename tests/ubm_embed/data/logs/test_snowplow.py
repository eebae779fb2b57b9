"""Enriched events of Snowplow: what the sample of `named/` does not show."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ubm_embed.data.logs.event_kind import EventKind
from ubm_embed.data.logs.readers import READERS
from ubm_embed.errors import InvalidData

READ = READERS[EventKind.SNOWPLOW_ENRICHED]
ECOMMERCE = "iglu:com.snowplowanalytics.snowplow.ecommerce/"


def _events(file: Path, **event: Any) -> pl.DataFrame:
    plain = {"event_id": "e", "domain_sessionid": "s", "event_name": "other", "derived_tstamp": "2024-03-01 10:00:00"}
    file.write_text(json.dumps({**plain, **event}) + "\n")
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
