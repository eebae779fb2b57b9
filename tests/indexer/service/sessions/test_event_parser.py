from __future__ import annotations

import contextlib
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.service.http.requests.requested_sessions import whole_session
from indexer.service.sessions.event import Event
from indexer.service.sessions.event_parser import parse_events
from indexer.service.sessions.parsed_events import MAX_EVENTS, IgnoredEvent
from ubm_embed.data.session import Action, Interaction, Product
from ubm_embed.errors import InvalidData

NOW = 1_800_000_000.0
VIEW = {"session_id": "s", "action": "view", "product_id": "p1"}


def parse(body: Any) -> dict[str, list[Interaction]]:
    sessions = parse_events(body, NOW).sessions
    return {session_id: [event.interaction for event in events] for session_id, events in sessions.items()}


def only(body: Any) -> Event:
    ((event,),) = parse_events(body, NOW).sessions.values()
    return event


def view(product_id: str) -> Interaction:
    return Interaction(Action.VIEW, product_id=product_id)


class TestOwnShape:
    @pytest.mark.parametrize(
        "body",
        [
            VIEW,
            [VIEW],
            {"events": [VIEW]},
            {"session_id": "s", "interactions": [{"action": "view", "product_id": "p1"}]},
            {"session_id": "s", "events": [{"action": "view", "product_id": "p1"}]},
        ],
    )
    def test_forms_of_a_request(self, body: Any) -> None:
        assert parse_events(body, NOW).sessions == {"s": (Event(view("p1"), NOW),)}

    def test_events_of_several_sessions_keep_their_order(self) -> None:
        body = [VIEW, VIEW | {"session_id": "t"}, VIEW | {"product_id": "p2"}]
        assert parse(body) == {"s": [view("p1"), view("p2")], "t": [view("p1")]}

    def test_an_event_may_say_everything(self) -> None:
        body = VIEW | {"event_id": "e1", "answer_id": "a1", "timestamp": "2024-01-01T12:00:00+02:00"}
        assert only(body) == Event(view("p1"), 1_704_103_200.0, "e1", "a1")

    def test_searches_and_inline_products(self) -> None:
        shirt = {"title": "red shirt", "attributes": {"colour": "red"}, "product_id": 17.0}
        body = [
            {"session_id": "s", "action": "search", "query": "shirt"},
            {"session_id": "s", "action": "remove", "product": shirt},
        ]
        product = Product("red shirt", None, (("colour", "red"),), "17")
        assert parse(body)["s"] == [
            Interaction(Action.SEARCH, query="shirt"),
            Interaction(Action.REMOVE, product=product),
        ]

    def test_ids_follow_the_one_rule(self) -> None:
        assert parse(VIEW | {"session_id": 7, "product_id": " 17.0\u200b"}) == {"7": [view("17")]}

    @pytest.mark.parametrize("session_id", ["s", 7, " 17.0\u200b", 18.0])
    def test_a_request_for_an_answer_names_the_session_in_the_same_way(self, session_id: Any) -> None:
        asked = whole_session({"session_id": session_id, "interactions": []}, "")
        assert list(parse(VIEW | {"session_id": session_id})) == [asked.session_id]
        with pytest.raises(InvalidData, match=r"'session\.session_id': expected an id, got 'undefined'"):
            whole_session({"session_id": "undefined", "interactions": []}, "session")

    @pytest.mark.parametrize(
        ("timestamp", "moment"),
        [
            (1_704_103_200, 1_704_103_200.0),
            (1_704_103_200_500, 1_704_103_200.5),
            (1_704_103_200_500_000.0, 1_704_103_200.5),
            ("1704103200", 1_704_103_200.0),
            ("2024-01-01T10:00:00Z", 1_704_103_200.0),
            ("2024-01-01 10:00", 1_704_103_200.0),
            ("2024-01-01", 1_704_067_200.0),
            (None, NOW),
            ("", NOW),
            (NOW + 60, NOW),
            ("9999-12-31T23:59:59Z", NOW),
            (0, 0.0),
        ],
    )
    def test_times(self, timestamp: Any, moment: float) -> None:
        assert only(VIEW | {"timestamp": timestamp}).moment == moment

    @pytest.mark.parametrize(
        "timestamp", ["tomorrow", "2024-13-01", -1, float("nan"), float("inf"), True, [], {}, "nan", "1" * 400, 10**400]
    )
    def test_what_is_no_time_is_refused(self, timestamp: Any) -> None:
        with pytest.raises(InvalidData, match=r"'timestamp': expected a time since 1970"):
            parse_events(VIEW | {"timestamp": timestamp}, NOW)

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (None, "expected an event object with session_id and action, or a list of them, got nothing"),
            ("view", "got a string"),
            ([7], "field '[0]': expected an event object with session_id and action, got a number"),
            ({"events": 7}, "field 'events': expected a list, got a number"),
            (
                {"events": [VIEW, VIEW | {"action": "look"}]},
                "field 'events[1].action': unknown action 'look', expected",
            ),
            ([VIEW, {"action": "view", "product_id": "p1"}], "field '[1].session_id': expected an id, got nothing"),
            (VIEW | {"session_id": "undefined"}, "field 'session_id': expected an id, got 'undefined'"),
            (VIEW | {"session_id": "x" * 257}, "field 'session_id': expected at most 256 characters, got 257"),
            (VIEW | {"session_id": []}, "field 'session_id': expected a string, got a list"),
            (VIEW | {"product_id": "x" * 257}, "field 'product_id': expected at most 256 characters, got 257"),
            (VIEW | {"product_id": "null"}, "field 'product_id': expected an id, got 'null'"),
            (VIEW | {"event_id": "x" * 257}, "field 'event_id': expected at most 256 characters, got 257"),
            (VIEW | {"answer_id": 1.5}, "field 'answer_id': expected a string, got a number"),
            (VIEW | {"eventid": "e"}, "field 'eventid': unknown field; expected session_id, action"),
            (
                {"session_id": "s", "type": "view", "product_id": "p1"},
                "field 'type': unknown field; expected session_id",
            ),
            ({"events": [{"session_id": "s", "action": "add"}]}, "field 'events[0]': action 'add' needs product_id or"),
            (VIEW | {"query": "shoes"}, "action 'view' needs product_id or product, got product_id and query"),
            ({"session_id": "s", "action": "search", "query": "x" * 10_001}, "field 'query': expected at most 10,000"),
            ({"session_id": "s", "action": "view", "product": {"title": "x" * 10_001}}, "field 'product': expected at"),
            ({"session_id": "s", "action": "view", "product": {}}, "field 'product': a product without text"),
            ({"interactions": [VIEW], "k": 7}, "field 'k': unknown field; expected session_id, interactions"),
            ([VIEW] * (MAX_EVENTS + 1), "expected at most 1,000, got 1,001"),
        ],
    )
    def test_what_is_wrong_is_named(self, body: Any, message: str) -> None:
        with pytest.raises(InvalidData, match=re.escape(message)):
            parse_events(body, NOW)


SHOE = {
    "item_id": "p1",
    "item_name": "Red shoe",
    "item_brand": "Acme",
    "item_category": "Wear",
    "item_category2": "Shoes",
}


def ga4(name: str, *items: Any, **params: Any) -> dict[str, Any]:
    return {"name": name, "params": {"session_id": 5, **params, **({"items": list(items)} if items else {})}}


class TestGa4Shape:
    def parse(self, *events: Any, **more: Any) -> Any:
        return parse_events({"client_id": "c.1", "events": list(events), **more}, NOW)

    def test_each_item_is_an_event(self) -> None:
        parsed = self.parse(ga4("purchase", SHOE, {"item_id": 17.0}))
        shoe = Product("Red shoe", "Wear > Shoes", (("brand", "Acme"),), "p1")
        assert [one.interaction for one in parsed.sessions["c.1-5"]] == [
            Interaction(Action.BUY, product=shoe),
            Interaction(Action.BUY, product_id="17"),
        ]

    def test_a_page_of_results_is_a_search(self) -> None:
        parsed = self.parse(ga4("view_search_results", SHOE, search_term=1984))
        assert [one.interaction for one in parsed.sessions["c.1-5"]] == [Interaction(Action.SEARCH, query="1984")]

    def test_an_event_without_a_session_is_its_client_s(self) -> None:
        assert list(self.parse({"name": "view_item", "params": {"items": [SHOE]}}).sessions) == ["c.1"]

    def test_what_is_no_use_is_ignored_with_the_reason(self) -> None:
        events = [
            {"name": "scroll"},
            ga4("view_item"),
            ga4("search", search_term="(not set)"),
            ga4("view_item", {"item_id": "(not set)"}),
        ]
        reasons = ["other event", "no product id", "no search phrase", "no product id"]
        assert self.parse(*events).ignored == tuple(map(IgnoredEvent, range(4), reasons))
        assert self.parse(ga4("view_item", SHOE), client_id="").ignored == (IgnoredEvent(0, "no session or user"),)

    def test_a_time_of_the_event_comes_before_that_of_the_request(self) -> None:
        parsed = self.parse(
            ga4("view_item", SHOE),
            ga4("view_item", SHOE) | {"timestamp_micros": 1.7e15},
            timestamp_micros="1600000000000000",
        )
        assert [one.moment for one in parsed.sessions["c.1-5"]] == [1.6e9, 1.7e9]

    def test_a_request_that_is_sent_again_has_the_same_event_ids(self) -> None:
        events = [ga4("purchase", SHOE, SHOE, {"item_id": "p2"}), ga4("purchase", SHOE), ga4("search", search_term="a")]
        first, again = (self.parse(*events, timestamp_micros=1.7e15).sessions["c.1-5"] for _ in range(2))
        assert first == again
        assert len({one.event_id for one in first}) == len(first) == 5
        assert all(one.event_id is None for one in self.parse(*events).sessions["c.1-5"])

    @pytest.mark.parametrize(
        ("events", "field"),
        [
            (7, "events"),
            ([7], "events[0]"),
            ([{"name": 7}], "events[0].name"),
            ([{"name": "view_item", "params": [7]}], "events[0].params"),
            ([ga4("view_item", 7)], "events[0].params.items[0]"),
            ([ga4("view_item", {"item_id": []})], "events[0].params.items[0].item_id"),
            (
                [ga4("view_item", SHOE), ga4("view_item", SHOE) | {"timestamp_micros": "?"}],
                "events[1].timestamp_micros",
            ),
        ],
    )
    def test_what_is_wrong_is_named(self, events: Any, field: str) -> None:
        with pytest.raises(InvalidData) as caught:
            parse_events({"client_id": "c", "events": events}, NOW)
        assert caught.value.field == field

    def test_items_are_bounded_over_all_events(self) -> None:
        with pytest.raises(InvalidData, match="at most 1,000 products"):
            self.parse(*[ga4("purchase", *[{"item_id": "p"}] * 600)] * 2)


CALL = {"type": "track", "anonymousId": "a", "messageId": "m", "timestamp": "2024-01-01T10:00:00Z"}


class TestSegmentShape:
    def call(self, event: str, **properties: Any) -> dict[str, Any]:
        return CALL | {"event": event, "properties": properties}

    def test_one_call_and_a_batch(self) -> None:
        call = self.call("Product Viewed", sku=17)
        expected = {"a": (Event(view("17"), 1_704_103_200.0, "m"),)}
        assert parse_events(call, NOW).sessions == parse_events({"batch": [call]}, NOW).sessions == expected

    def test_each_product_of_an_order_is_an_event(self) -> None:
        call = self.call("Order Completed", products=[{"product_id": "p1", "name": "Hat", "brand": "B"}, {"sku": "k"}])
        events = parse_events(call, NOW).sessions["a"]
        assert [one.interaction for one in events] == [
            Interaction(Action.BUY, product=Product("Hat", None, (("brand", "B"),), "p1")),
            Interaction(Action.BUY, product_id="k"),
        ]
        assert len({one.event_id for one in events}) == 2

    def test_what_is_no_use_is_ignored_with_the_reason(self) -> None:
        batch = [
            {"type": "page", "name": "Home"},
            self.call("Email Opened"),
            self.call("Products Searched", query=" "),
            self.call("Product Added"),
            self.call("Product Added", sku=1) | {"anonymousId": None},
        ]
        reasons = ["other event", "other event", "no search phrase", "no product id", "no session or user"]
        assert parse_events({"batch": batch}, NOW).ignored == tuple(map(IgnoredEvent, range(5), reasons))

    def test_the_first_time_that_is_there_counts(self) -> None:
        call = self.call("Product Viewed", sku=1) | {"timestamp": None, "sentAt": "2024-01-01T10:00:00Z"}
        assert only(call).moment == 1_704_103_200.0

    @pytest.mark.parametrize(
        ("batch", "field"),
        [
            (7, "batch"),
            ([7], "batch[0]"),
            ([{"type": "track"}], "batch[0].event"),
            ([CALL | {"event": "Product Viewed", "properties": 7}], "batch[0].properties"),
            ([CALL | {"event": "Order Completed", "properties": {"products": [7]}}], "batch[0].properties.products[0]"),
            ([CALL | {"event": "Product Viewed", "properties": {"sku": 1}, "timestamp": "?"}], "batch[0].timestamp"),
        ],
    )
    def test_what_is_wrong_is_named(self, batch: Any, field: str) -> None:
        with pytest.raises(InvalidData) as caught:
            parse_events({"batch": batch}, NOW)
        assert caught.value.field == field


KEYS = [
    *("session_id", "action", "product_id", "product", "query", "event_id", "timestamp", "events", "interactions"),
    *("client_id", "name", "params", "items", "item_id", "item_name", "search_term", "timestamp_micros"),
    *("batch", "type", "event", "anonymousId", "properties", "products", "title", "attributes"),
]
TEXTS = st.sampled_from(
    ["view", "search", "view_item", "purchase", "Order Completed", "Product Viewed", "p1", "2024-01-01", "\ud800", "\0"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.text(max_size=20)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=20,
)


@given(JSON)
def test_any_json_is_read_or_refused(body: Any) -> None:
    with contextlib.suppress(InvalidData):
        for session_id, events in parse_events(body, NOW).sessions.items():
            assert 1 <= len(session_id) <= 2 * 256 + 1
            assert all(0 <= event.moment <= NOW for event in events)
            session_id.encode()


def test_json_in_many_brackets_does_no_harm() -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = [deep]
    for body in (deep, VIEW | {"product": deep}, {"client_id": "c", "events": [ga4("view_item", SHOE, deep=deep)]}):
        with contextlib.suppress(InvalidData):
            parse_events(body, NOW)
