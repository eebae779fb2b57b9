import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest

from ubm_embed.data.logs.cleaning import cleaned
from ubm_embed.data.logs.event_table import CLEAN_SCHEMA
from ubm_embed.data.logs.events import read_events
from ubm_embed.data.logs.report import Tally
from ubm_embed.data.tables.table_files import collect_tables
from ubm_embed.errors import InvalidData, NotFound

START = 1_704_110_400_000_000  # 2024-01-01 12:00 UTC in microseconds
NOON = datetime(2024, 1, 1, 12)


def write(file: Path, rows: list[dict[str, Any]]) -> Path:
    """Rows as the file's suffix says."""
    if file.suffix == ".parquet":
        pl.DataFrame(rows, infer_schema_length=None).write_parquet(file)
    elif file.suffix == ".json":
        file.write_text(json.dumps(rows))
    else:
        file.write_text("\n".join(map(json.dumps, rows)))
    return file


def collect(file: Path, kind: str) -> pl.DataFrame:
    """The events of a file or folder, cleaned, in order."""
    events = read_events([file], kind)
    (frame,) = collect_tables([events.frame], events.files)
    assert frame["order"].to_list() == list(range(frame.height))
    with TemporaryDirectory() as folder:
        clean = cleaned(frame.lazy(), Path(folder) / "cleaned.parquet", Tally()).sort("order").collect()
    assert dict(clean.drop("order", "file").schema) == CLEAN_SCHEMA
    return clean


def kept(frame: pl.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return frame.filter(pl.col("dropped").is_null()).select(*columns).rows()


def dropped(frame: pl.DataFrame) -> Counter[str]:
    return Counter(frame["dropped"].drop_nulls())


# --- GA4 ---

SHOE = {
    "item_id": "p1",
    "item_name": "Red shoe",
    "item_brand": "Acme",
    "item_variant": "(not set)",
    "item_category": "Wear",
    "item_category2": "Shoes",
    "item_category3": "",
    "price": 12.5,
}
HAT = {
    "item_id": "p2",
    "item_name": "Hat",
    "item_brand": None,
    "item_variant": None,
    "item_category": "(not set)",
    "item_category2": None,
    "item_category3": None,
    "price": None,
}


def ga4(
    name: str,
    *items: dict[str, Any],
    minute: int = 0,
    user: str | None = "u",
    session: int | None = 5,
    term: Any = None,
) -> dict[str, Any]:
    """One event as BigQuery holds it."""
    parameters = [parameter("ga_session_id", int_value=session)] if session is not None else []
    if term is not None:
        parameters.append(parameter("search_term", **{"int_value" if isinstance(term, int) else "string_value": term}))
    return {
        "event_name": name,
        "event_timestamp": START + minute * 60_000_000,
        "user_pseudo_id": user,
        "event_params": [*parameters, parameter("page_title", string_value="Page")],
        "items": list(items),
    }


def parameter(key: str, string_value: str | None = None, int_value: int | None = None) -> dict[str, Any]:
    return {"key": key, "value": {"string_value": string_value, "int_value": int_value, "double_value": None}}


LOG = [
    ga4("page_view"),
    ga4("view_search_results", HAT, term="shoes"),
    ga4("search", term=1984, minute=1),
    ga4("view_item", SHOE, minute=2),
    ga4("select_item", HAT, minute=3),
    ga4("add_to_cart", SHOE, minute=4),
    ga4("purchase", SHOE, HAT, minute=5),
    ga4("view_item", minute=6),
    ga4("search", minute=7),
    ga4("view_item", SHOE, user=None),
    ga4("view_item", SHOE | {"item_id": "(not set)"}),
]


@pytest.mark.parametrize("suffix", ["parquet", "json", "jsonl"])
def test_ga4_events_become_actions(tmp_path: Path, suffix: str) -> None:
    frame = collect(write(tmp_path / f"log.{suffix}", LOG), "ga4")
    assert kept(frame, "action", "product_id", "query") == [
        ("search", None, "shoes"),
        ("search", None, "1984"),
        ("view", "p1", None),
        ("view", "p2", None),
        ("add", "p1", None),
        ("buy", "p1", None),
        ("buy", "p2", None),
    ]
    assert dropped(frame) == {
        "other event": 1,
        "no product id": 2,
        "no search phrase": 1,
        "no session or user": 1,
    }
    assert set(kept(frame, "session_id", "anonymous_id", "user_id")) == {("u-5", "u", None)}
    assert frame["timestamp"].min() == NOON


def test_ga4_items_carry_product_text(tmp_path: Path) -> None:
    frame = collect(write(tmp_path / "log.parquet", LOG), "ga4")
    bought = frame.filter(action="buy").select("title", "category", "attributes", "price").rows()
    assert bought == [
        ("Red shoe", "Wear > Shoes", [{"name": "brand", "value": "Acme"}], 12.5),
        ("Hat", None, None, None),
    ]


def test_ga4_integers_may_be_strings_and_absent_fields_be_left_out(tmp_path: Path) -> None:
    event = {
        "event_name": "view_item",
        "event_timestamp": str(START),
        "user_pseudo_id": "1.2",
        "event_params": [{"key": "ga_session_id", "value": {"int_value": "5"}}],
        "items": [{"item_id": "p", "price": "3.5"}],
    }
    frame = collect(write(tmp_path / "log.jsonl", [event]), "ga4")
    assert kept(frame, "session_id", "timestamp", "product_id", "price") == [("1.2-5", NOON, "p", 3.5)]


def test_ga4_without_session_id_is_left_to_be_split(tmp_path: Path) -> None:
    frame = collect(write(tmp_path / "log.jsonl", [ga4("view_item", SHOE, session=None)]), "ga4")
    assert kept(frame, "session_id", "anonymous_id") == [(None, "u")]


# --- Segment ---

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


# --- native ---


def test_native_rows_are_taken_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text(
        "user_id,timestamp,action,product_id,query,title,attributes,price\n"
        '1,2024-01-01 12:00,view,007,,Shoe,"{""colour"": ""red""}",12.5\n'
        "1,1704110400,search,,shoes,,,\n"
        "1,,view,7,,,,\n"
        ",2024-01-01 12:00,view,7,,,,\n"
        "1,2024-01-01 12:00,view,,,,,\n"
        "1,2024-01-01 12:00,search,, ,,,\n"
    )
    frame = collect(file, "native")
    assert kept(frame, "user_id", "timestamp", "action", "product_id", "query", "title", "attributes", "price") == [
        ("1", NOON, "view", "007", None, "Shoe", [{"name": "colour", "value": "red"}], 12.5),
        ("1", NOON, "search", None, "shoes", None, None, None),
    ]
    assert dropped(frame) == {
        "no timestamp": 1,
        "no session or user": 1,
        "no product id": 1,
        "no search phrase": 1,
    }


@pytest.mark.parametrize(
    ("rows", "row", "field"),
    [
        ("session_id,action,product_id\ns,view,p\ns,wish,p\n", 2, "action"),
        ("session_id,action,product_id\ns,,p\n", 1, "action"),
        ("session_id,product_id\ns,p\n", None, "action"),
        ("session_id,action\ns,view\n", None, "product_id"),
        ("action,product_id\nview,p\n", None, "session_id"),
        ("user_id,action,product_id\n1,view,p\n", None, "timestamp"),
        ("user_id,timestamp,action,product_id\n1,noon,view,p\n", 1, "timestamp"),
        ("session_id,position,action,product_id\ns,first,view,p\n", 1, "position"),
        ("session_id,action,product_id,attributes\ns,view,p,\ns,view,p,red\n", 2, "attributes"),
    ],
)
def test_a_bad_native_log_is_named_by_file_row_and_field(
    tmp_path: Path, rows: str, row: int | None, field: str
) -> None:
    (tmp_path / "log.csv").write_text(rows)
    with pytest.raises(InvalidData) as caught:
        read_events([tmp_path], "native")
    assert (caught.value.file, caught.value.row, caught.value.field) == (tmp_path / "log.csv", row, field)


def test_a_json_log_may_lack_columns_but_not_those_that_it_needs(tmp_path: Path) -> None:
    view = {"session_id": "s", "action": "view", "product_id": 7, "further": {"not": "read"}}
    late = view | {"price": 2, "attributes": {"colour": "red"}}
    frame = collect(write(tmp_path / "log.jsonl", [view, late]), "native")
    assert kept(frame, "session_id", "product_id", "price", "attributes") == [
        ("s", "7", None, None),
        ("s", "7", 2.0, [{"name": "colour", "value": "red"}]),
    ]
    for lacking in view.keys() - {"further"}:
        file = write(tmp_path / "bad.jsonl", [{name: value for name, value in view.items() if name != lacking}])
        with pytest.raises(InvalidData, match="missing column") as caught:
            read_events([file], "native")
        assert (caught.value.file, caught.value.field) == (file, lacking)


def test_a_json_column_without_any_value_is_not_a_missing_one(tmp_path: Path) -> None:
    row = {"session_id": None, "user_id": "u", "action": "view", "product_id": None}
    assert dropped(collect(write(tmp_path / "log.jsonl", [row]), "native")) == {"no product id": 1}


@pytest.mark.parametrize("line", ["{", "5", '{"action": NaN}', '{"action": "view"} {"action": "view"}'])
def test_malformed_lines_of_a_native_log_are_named(tmp_path: Path, line: str) -> None:
    file = write(tmp_path / "log.jsonl", [{"session_id": "s", "action": "view", "product_id": "p"}] * 3)
    file.write_text(f"{file.read_text()}\n{line}\n")
    with pytest.raises(InvalidData) as caught:
        read_events([file], "native")
    assert (caught.value.file, caught.value.row) == (file, 4)


# --- all kinds ---


@pytest.mark.parametrize("kind", ["ga4", "segment"])
def test_a_log_of_another_kind_is_refused(tmp_path: Path, kind: str) -> None:
    file = write(tmp_path / "log.jsonl", [{"session_id": "s", "action": "view", "product_id": "p"}])
    with pytest.raises(InvalidData, match=f"expected a log of {kind}") as caught:
        read_events([file], kind)
    assert caught.value.file == file


def test_events_are_in_the_order_of_the_sources(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{name}.jsonl", [ga4("view_item", SHOE | {"item_id": name})]) for name in "bca"]
    events = read_events(files, "ga4")
    (frame,) = collect_tables([events.frame], events.files)
    assert kept(frame, "order", "product_id") == [(0, "b"), (1, "c"), (2, "a")]


def test_malformed_lines_late_in_a_log_are_named(tmp_path: Path) -> None:
    write(tmp_path / "1.jsonl", LOG)
    bad = write(tmp_path / "2.jsonl", LOG)
    bad.write_text(bad.read_text() + '\n{"event_name":')
    with pytest.raises(InvalidData) as caught:
        collect(tmp_path, "ga4")
    assert (caught.value.file, caught.value.row) == (bad, len(LOG) + 1)


def test_a_missing_source_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_events([tmp_path / "log.jsonl"], "segment")


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="webtrends"):
        read_events([tmp_path], "webtrends")
