import json
from pathlib import Path
from typing import Any

import pytest

from tests.ubm_embed.data.logs.reading import NOON, collect, dropped, kept, write
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.logs.ingestion import ingest

START = 1_704_110_400_000_000  # 2024-01-01 12:00 UTC in microseconds

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


def as_text(event: dict[str, Any]) -> dict[str, Any]:
    """The event with its records as JSON text, as warehouses hand it on."""
    return {name: json.dumps(value) if isinstance(value, list) else str(value) for name, value in event.items()}


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_ga4_records_may_be_json_text(tmp_path: Path, suffix: str) -> None:
    plain = collect(write(tmp_path / "plain.jsonl", LOG[:9]), "ga4")
    text = collect(write(tmp_path / f"text.{suffix}", [as_text(event) for event in LOG[:9]]), "ga4")
    columns = ("session_id", "action", "product_id", "query", "title", "category", "attributes", "price", "dropped")
    assert text.select(columns).equals(plain.select(columns))


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_ga4_text_that_is_no_record_costs_its_row_alone(tmp_path: Path, suffix: str) -> None:
    odd = [as_text(ga4("view_item", SHOE)) | {"items": text} for text in ("[{", "3", '"x"', "[3]")]
    other = as_text(ga4("scroll")) | {"items": "{"}
    frame = collect(write(tmp_path / f"log.{suffix}", [*odd, other, as_text(ga4("view_item", SHOE))]), "ga4")
    assert frame["dropped"].to_list() == ["odd record"] * 4 + ["other event", None]
    assert frame["problem"].head(4).str.starts_with("field items").all()


def test_ga4_batches_say_what_was_first_at_the_same_time(tmp_path: Path) -> None:
    def sent(page: int, batch: int, index: int) -> dict[str, Any]:
        batches = {"batch_page_id": page, "batch_ordering_id": batch, "batch_event_index": index}
        return ga4("view_item", SHOE | {"item_id": f"{page - PAGE} {batch} {index}"}) | batches

    PAGE = 1_700_000_000_000
    log = [sent(PAGE + 1, 1, 1), sent(PAGE, 2, 1), sent(PAGE, 1, 10), sent(PAGE, 1, 9), sent(PAGE, 10, 1)]
    for suffix in ("parquet", "jsonl"):
        frame = collect(write(tmp_path / f"log.{suffix}", log), "ga4")
        assert frame.sort("position")["product_id"].to_list() == ["0 1 9", "0 1 10", "0 2 1", "0 10 1", "1 1 1"]


def test_ga4_without_batches_has_no_position(tmp_path: Path) -> None:
    assert collect(write(tmp_path / "log.jsonl", LOG), "ga4")["position"].null_count() == len(LOG) + 1


def test_a_ga4_user_without_a_cookie_is_kept(tmp_path: Path) -> None:
    log = [
        ga4("view_item", SHOE, user=None, session=None) | {"user_id": "u7"},
        ga4("view_item", SHOE, user=None) | {"user_id": "u7"},
        ga4("view_item", SHOE) | {"user_id": "u7"},
    ]
    frame = collect(write(tmp_path / "log.jsonl", log), "ga4")
    assert kept(frame, "session_id", "user_id", "anonymous_id") == [
        (None, "u7", None),
        ("u7-5", "u7", None),
        ("u-5", "u7", "u"),
    ]


def test_a_ga4_event_in_two_tables_counts_once(tmp_path: Path) -> None:
    log = [ga4("purchase", SHOE, HAT), ga4("view_item", SHOE, minute=1), ga4("view_item", SHOE, minute=1, user="v")]
    for name in ("events_20240101", "events_intraday_20240101"):
        write(tmp_path / "log" / f"{name}.parquet", log)
    report = ingest([tmp_path / "log"], kind="ga4", out=tmp_path / "out")
    assert (report.events, report.interactions, report.dropped) == (8, 4, {"duplicate message": 4})


@pytest.mark.parametrize("where", ["ecommerce", "event_params"])
def test_a_ga4_order_page_that_is_loaded_again_is_no_second_order(tmp_path: Path, where: str) -> None:
    def order(minute: int, number: str) -> dict[str, Any]:
        event = ga4("purchase", SHOE, minute=minute)
        if where == "ecommerce":
            return event | {"ecommerce": {"transaction_id": number}}
        return event | {"event_params": [*event["event_params"], parameter("transaction_id", string_value=number)]}

    log = [order(0, "T1"), ga4("view_item", HAT, minute=1), order(2, "T1"), order(3, "(not set)"), order(3, "T2")]
    report = ingest([write(tmp_path / "log.jsonl", log)], kind="ga4", out=tmp_path / "out")
    assert report.dropped == {"duplicate order": 1, "repeated": 1}


def test_a_ga4_purchase_from_the_server_joins_the_session(tmp_path: Path) -> None:
    log = [ga4("view_item", SHOE), ga4("purchase", SHOE, minute=10, session=None), ga4("view_item", HAT, minute=20)]
    report = ingest([write(tmp_path / "log.jsonl", log)], kind="ga4", out=tmp_path / "out")
    assert (report.sessions, report.interactions) == (1, 3)


def test_a_ga4_removal_takes_the_add_back(tmp_path: Path) -> None:
    log = [ga4("add_to_cart", SHOE), ga4("add_to_cart", HAT, minute=1), ga4("remove_from_cart", SHOE, minute=2)]
    report = ingest([write(tmp_path / "log.jsonl", log)], kind="ga4", out=tmp_path / "out")
    assert (report.interactions, report.taken_back) == (1, 2)


@pytest.mark.parametrize("number", ["undefined", "null", "NaN", "(not set)", " "])
def test_a_ga4_item_without_an_id_is_no_product(tmp_path: Path, number: str) -> None:
    frame = collect(write(tmp_path / "log.jsonl", [ga4("view_item", SHOE | {"item_id": number})]), "ga4")
    assert dropped(frame) == {"no product id": 1}


def test_a_ga4_purchase_from_the_server_may_know_the_user_alone(tmp_path: Path) -> None:
    server = ga4("purchase", SHOE, minute=10, user=None, session=None) | {"user_id": "u7"}
    log = [ga4("view_item", SHOE), ga4("view_item", HAT, minute=1) | {"user_id": "u7"}, server]
    report = ingest([write(tmp_path / "log.jsonl", log)], kind="ga4", out=tmp_path / "out")
    interactions = Corpus.open(tmp_path / "out").interactions
    assert interactions.select("session_id", "user_id").unique().rows() == [("u-5", "u7")]
    assert report.actions == {"view": 2, "buy": 1}


def test_a_ga4_event_without_a_time_is_kept_and_counted(tmp_path: Path) -> None:
    timeless = {name: value for name, value in ga4("view_item", HAT).items() if name != "event_timestamp"}
    scroll = {name: value for name, value in ga4("scroll").items() if name != "event_timestamp"}
    log = write(tmp_path / "log.jsonl", [ga4("view_item", SHOE), timeless, scroll])
    report = ingest([log], kind="ga4", out=tmp_path / "out")
    assert (report.interactions, report.lost) == (2, {"timestamp": 1})
    assert [(one.row, one.value) for one in report.examples["lost timestamp"]] == [(2, "no timestamp")]


def test_ga4_events_in_two_tables_count_once_item_by_item(tmp_path: Path) -> None:
    """Prices in dollars may be filled only after the table of a day that goes on was copied."""
    log = [
        ga4("purchase", SHOE, HAT, minute=5) | {"ecommerce": {"transaction_id": "T1"}},
        ga4("add_to_cart", SHOE, HAT, minute=3),
        ga4("purchase", SHOE, minute=5) | {"ecommerce": {"transaction_id": "T2"}},
    ]
    write(tmp_path / "log" / "events_20240101.jsonl", log)
    changed = [event | {"items": [item | {"price": 99.0} for item in event["items"]]} for event in log]
    write(tmp_path / "log" / "events_intraday_20240101.jsonl", list(reversed(changed)))
    report = ingest([tmp_path / "log"], kind="ga4", out=tmp_path / "out")
    assert (report.events, report.dropped, report.actions) == (10, {"duplicate message": 5}, {"buy": 3, "add": 2})


def test_a_ga4_purchase_that_two_tables_hold_in_part_is_whole(tmp_path: Path) -> None:
    """The order is known by its number and its products, also where the events differ."""
    write(tmp_path / "log" / "a.jsonl", [ga4("purchase", SHOE) | {"ecommerce": {"transaction_id": "T1"}}])
    write(tmp_path / "log" / "b.jsonl", [ga4("purchase", SHOE, HAT) | {"ecommerce": {"transaction_id": "T1"}}])
    report = ingest([tmp_path / "log"], kind="ga4", out=tmp_path / "out")
    bought = Corpus.open(tmp_path / "out").interactions.filter(action="buy")
    assert (report.dropped, bought["product_id"].to_list()) == ({"duplicate order": 1}, ["p1", "p2"])


def test_ga4_batches_order_a_session_of_one_moment(tmp_path: Path) -> None:
    """GA4 gives all events of a batch the time at which it was sent."""

    def sent(batch: int, index: int, item: str) -> dict[str, Any]:
        numbers = {"batch_page_id": 1_700_000_000_000, "batch_ordering_id": batch, "batch_event_index": index}
        return ga4("view_item", SHOE | {"item_id": item}) | numbers

    log = [sent(2, 1, "d"), sent(1, 10, "c"), sent(1, 2, "b"), sent(1, 1, "a")]
    ingest([write(tmp_path / "log.jsonl", log)], kind="ga4", out=tmp_path / "out")
    assert Corpus.open(tmp_path / "out").interactions["product_id"].to_list() == ["a", "b", "c", "d"]


def test_the_time_of_a_ga4_event_counts_before_its_batch(tmp_path: Path) -> None:
    later = ga4("view_item", SHOE, minute=1) | {"batch_page_id": 1, "batch_ordering_id": 1, "batch_event_index": 1}
    earlier = ga4("view_item", HAT) | {"batch_page_id": 2, "batch_ordering_id": 1, "batch_event_index": 1}
    ingest([write(tmp_path / "log.jsonl", [later, earlier])], kind="ga4", out=tmp_path / "out")
    assert Corpus.open(tmp_path / "out").interactions["product_id"].to_list() == ["p2", "p1"]


def test_a_ga4_cookie_is_one_person_in_all_its_sessions_after_a_login(tmp_path: Path) -> None:
    log = [
        ga4("view_item", SHOE, session=1),
        ga4("view_item", HAT, session=1, minute=1) | {"user_id": "u7"},
        ga4("view_item", SHOE, session=2, minute=90),
        ga4("view_item", HAT, session=3, minute=200, user="other device") | {"user_id": "u7"},
    ]
    ingest([write(tmp_path / "log.jsonl", log)], kind="ga4", out=tmp_path / "out")
    sessions = Corpus.open(tmp_path / "out").interactions.select("session_id", "user_id").unique().sort("session_id")
    assert sessions.rows() == [("other device-3", "u7"), ("u-1", "u7"), ("u-2", "u7")]


def test_ga4_sessions_of_two_visitors_with_one_number_are_two(tmp_path: Path) -> None:
    log = [ga4("view_item", SHOE, session=1), ga4("view_item", HAT, session=1, user="v")]
    report = ingest([write(tmp_path / "log.jsonl", log)], kind="ga4", out=tmp_path / "out")
    assert report.sessions == 2


@pytest.mark.parametrize("minute", [50, 300])
def test_a_ga4_purchase_from_the_server_long_after_is_a_session_of_its_own(tmp_path: Path, minute: int) -> None:
    log = [ga4("view_item", SHOE), ga4("purchase", SHOE, HAT, minute=minute, session=None)]
    report = ingest([write(tmp_path / "log.jsonl", log)], kind="ga4", out=tmp_path / "out")
    assert (report.sessions, report.actions) == (2, {"buy": 2, "view": 1})


def test_ga4_purchases_from_the_server_alone_are_sessions_by_their_times(tmp_path: Path) -> None:
    log = [
        ga4("purchase", SHOE, session=None),
        ga4("purchase", HAT, session=None, minute=10),
        ga4("purchase", HAT, session=None, minute=100),
        ga4("purchase", HAT, session=None, user="v"),
    ]
    report = ingest([write(tmp_path / "log.jsonl", log)], kind="ga4", out=tmp_path / "out")
    assert (report.sessions, report.interactions) == (3, 4)


def test_a_ga4_purchase_from_the_server_of_an_unknown_visitor_is_counted(tmp_path: Path) -> None:
    log = [ga4("view_item", SHOE), ga4("purchase", SHOE, HAT, session=None, user=None)]
    report = ingest([write(tmp_path / "log.jsonl", log)], kind="ga4", out=tmp_path / "out")
    assert report.dropped == {"no session or user": 2}
