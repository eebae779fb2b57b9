"""Logs of records as other programs hand them on: other names of columns, events inside a column."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.ubm_embed.data.logs.reading import collect, write
from tests.ubm_embed.data.logs.test_ga4 import LOG, as_text, ga4
from ubm_embed.errors import InvalidData

COLUMNS = ("session_id", "timestamp", "action", "product_id", "query", "title", "price", "row", "dropped")
SUFFIXES = pytest.mark.parametrize("suffix", ["parquet", "json", "jsonl", "csv"])


def _same_as_plain(folder: Path, file: Path) -> bool:
    plain = collect(write(folder / "plain.jsonl", LOG[:9]), "ga4")
    return collect(file, "ga4").select(COLUMNS).equals(plain.select(COLUMNS))


@SUFFIXES
def test_columns_may_have_names_in_capitals(tmp_path: Path, suffix: str) -> None:
    rows = [{name.upper(): value for name, value in as_text(event).items()} for event in LOG[:9]]
    assert _same_as_plain(tmp_path, write(tmp_path / f"log.{suffix}", rows))


@SUFFIXES
@pytest.mark.parametrize("envelope", ["_airbyte_data", "_AIRBYTE_DATA", "value", "payload"])
def test_events_may_be_text_inside_a_column(tmp_path: Path, suffix: str, envelope: str) -> None:
    rows = [{"offset": "7", envelope: json.dumps(event)} for event in LOG[:9]]
    assert _same_as_plain(tmp_path, write(tmp_path / f"log.{suffix}", rows))


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_events_may_be_records_inside_a_column(tmp_path: Path, suffix: str) -> None:
    rows = [{"_airbyte_raw_id": "7", "_airbyte_data": event} for event in LOG[:9]]
    assert _same_as_plain(tmp_path, write(tmp_path / f"log.{suffix}", rows))


@SUFFIXES
def test_text_that_is_no_event_costs_its_row_alone(tmp_path: Path, suffix: str) -> None:
    rows: list[dict[str, Any]] = [{"value": "{"}, *({"value": json.dumps(event)} for event in LOG[:9])]
    frame = collect(write(tmp_path / f"log.{suffix}", rows), "ga4")
    assert frame["dropped"].to_list()[:2] == ["odd record", "other event"]
    assert frame["problem"][0].startswith("field value: expected an object")


@SUFFIXES
def test_a_log_of_another_form_says_which_columns_it_has(tmp_path: Path, suffix: str) -> None:
    file = write(tmp_path / f"log.{suffix}", [{"sku": "p", "value": "3"}])
    with pytest.raises(InvalidData, match=r"event_name.*a log of ga4; found sku, value$"):
        collect(file, "ga4")


def test_many_columns_are_named_in_part(tmp_path: Path) -> None:
    file = write(tmp_path / "log.csv", [{f"c{number}": "x" for number in range(100)}])
    with pytest.raises(InvalidData, match=r"found c0, .*, c11 and 88 more$"):
        collect(file, "ga4")


@SUFFIXES
@pytest.mark.parametrize("time", [{}, {"event_time": "x"}])
def test_a_log_without_times_is_refused(tmp_path: Path, suffix: str, time: dict[str, str]) -> None:
    event = as_text(ga4("view_item"))
    del event["event_timestamp"]
    with pytest.raises(InvalidData, match=r"event_timestamp.*no row has a time.*found event_name"):
        collect(write(tmp_path / f"log.{suffix}", [event | time]), "ga4")
