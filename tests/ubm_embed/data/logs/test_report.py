"""Every row of a log is accounted for."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ubm_embed.data.corpus import Corpus
from ubm_embed.data.logs.ingestion import ingest
from ubm_embed.data.logs.report import Example
from ubm_embed.errors import InvalidData


def call(event: str | None, minute: int, *, products: object = None, **more: object) -> dict[str, object]:
    properties = {"product_id": "p", "name": "Shoe"} | ({} if products is None else {"products": products})
    time = f"2024-01-01T12:{minute:02}:00Z"
    return {"event": event, "anonymousId": "a", "timestamp": time, "properties": properties} | more


def write(file: Path, *calls: dict[str, object] | str) -> Path:
    file.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in calls))
    return file


def test_the_first_rows_of_each_reason_are_named(tmp_path: Path) -> None:
    first = write(
        tmp_path / "1.jsonl",
        call("Product Viewed", 0),
        "",  # rows of JSON Lines are lines
        call("Filter Applied", 1, properties=[]),
        call("Product Viewed", 2, products=3),
        call("Product Viewed", 3, messageId="m", properties={"product_id": "q", "name": "Hat"}),
        call("Product Removed", 4, messageId="n"),
        call(None, 5),
    )
    second = write(
        tmp_path / "2.jsonl",
        call("Product Viewed", 3, messageId="m"),
        *(call("Filter Applied", minute) for minute in range(10, 13)),
        call("Product Added", 20),
        call("Product Removed", 21),
        call("Product Viewed", 22, timestamp="noon"),
    )
    report = ingest([first, second], kind="segment", out=tmp_path / "out")
    assert report.rows == {str(first): 6, str(second): 7}
    assert report.actions == {"view": 2}
    assert report.taken_back == 2
    assert report.dropped == {
        "other event": 5,
        "duplicate message": 1,
        "no timestamp": 1,
        "odd record": 1,
        "removal without add": 1,
    }
    assert report.events == 13 == report.interactions + report.taken_back + sum(report.dropped.values())
    assert {reason: [(example.file, example.row) for example in rows] for reason, rows in report.examples.items()} == {
        "other event": [(str(first), 3), (str(first), 7), (str(second), 2)],
        "duplicate message": [(str(second), 1)],
        "no timestamp": [(str(second), 7)],
        "lost timestamp": [(str(second), 7)],
        "odd record": [(str(first), 4)],
        "removal without add": [(str(first), 6)],
    }
    (odd,) = report.examples["odd record"]
    assert "properties.products" in str(odd.value)
    assert report.examples["lost timestamp"] == [Example(str(second), 7, "noon")]


CALLS = st.lists(
    st.builds(
        call,
        st.sampled_from(
            [
                "Product Viewed",
                "Product Added",
                "Product Removed",
                "Order Completed",
                "Products Searched",
                "Other",
                None,
            ]
        ),
        st.integers(0, 59),
        products=st.sampled_from([None, [], 3, [{"product_id": "p"}], [{"product_id": "q"}, {"product_id": "null"}]]),
        messageId=st.none() | st.sampled_from("mn"),
        userId=st.none() | st.sampled_from(["u", "v"]),
        anonymousId=st.none() | st.sampled_from("ab"),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=30)
@given(CALLS)
def test_events_add_up_and_agree_with_the_corpus(calls: list[dict[str, Any]]) -> None:
    def events_of(one: dict[str, Any]) -> int:
        products = one["properties"].get("products", [])
        return max(1, len(products)) if one["event"] == "Order Completed" and products != 3 else 1

    with TemporaryDirectory() as name:
        folder = Path(name)
        log = write(folder / "log.jsonl", call("Product Viewed", 0, anonymousId="c"), *calls)
        report = ingest([log], kind="segment", out=folder / "out")
        corpus = Corpus.open(folder / "out")
    assert report.rows == {str(log): 1 + len(calls)}
    assert report.events == 1 + sum(map(events_of, calls))
    assert report.events == report.interactions + report.taken_back + sum(report.dropped.values())
    assert report.interactions == corpus.interactions.height == sum(report.actions.values())
    assert report.sessions == corpus.sessions
    for reason, count in report.dropped.items():
        assert len(report.examples[reason]) == min(3, count)


def test_removals_stay_where_a_log_has_many(tmp_path: Path) -> None:
    rows = [f"s{number},{action},p,Shoe" for number in range(1000) for action in ("add", "remove")]
    log = tmp_path / "log.csv"
    log.write_text("session_id,action,product_id,title\n" + "\n".join(rows))
    report = ingest([log], kind="native", out=tmp_path / "many")
    assert (report.actions, report.taken_back) == ({"add": 1000, "remove": 1000}, 0)
    log.write_text("session_id,action,product_id,title\n" + "\n".join(["t,view,p,Shoe", *rows[2:]]))
    report = ingest([log], kind="native", out=tmp_path / "few")
    assert (report.actions, report.taken_back) == ({"view": 1}, 1998)


def test_all_taken_back_says_so(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", call("Product Added", 0), call("Product Removed", 1))
    with pytest.raises(InvalidData, match="none of 2 events can be used; taken back: 2"):
        ingest([log], kind="segment", out=tmp_path / "out")
