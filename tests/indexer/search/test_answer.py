"""An answer is JSON, whatever the shop's columns hold."""

import datetime
import decimal
import json

from indexer.search.answer import Answer, Match, plain


def test_an_answer_as_json_has_the_promised_keys() -> None:
    match = Match(1, "p1", 0.12345678, "shoe", "shoes", {"price": decimal.Decimal("9.50")})
    answer = Answer("s1", 3, "abc", None, ("p9",), 1.23456, (match,))
    assert json.loads(json.dumps(answer.to_dict())) == {
        "session_id": "s1",
        "version": 3,
        "revision": 0,
        "model_id": "abc",
        "fallback": None,
        "unknown": ["p9"],
        "took_ms": 1.235,
        "matches": [
            {"rank": 1, "product_id": "p1", "score": 0.123457, "title": "shoe", "category": "shoes", "price": 9.5}
        ],
    }


def test_an_answer_says_which_version_it_is_of() -> None:
    answer = Answer("s1", 3, "abc", None, (), 1.0, (), revision=17)
    assert (answer.label, answer.to_dict()["revision"]) == ("3.17", 17)
    assert Answer("s1", 3, "abc", None, (), 1.0, ()).label == "3"


def test_only_predictions_that_were_made_are_in_it() -> None:
    document = Answer("s1", 3, "abc", None, (), 1.0, (), 0.12345678, 0.0).to_dict()
    assert list(document)[5:8] == ["unknown", "purchase_intention", "remaining_length"]
    assert (document["purchase_intention"], document["remaining_length"]) == (0.123457, 0.0)
    one = Answer("s1", 3, "abc", None, (), 1.0, (), remaining_length=4.25).to_dict()
    assert one["remaining_length"] == 4.25
    assert "purchase_intention" not in one


def test_a_column_with_the_name_of_one_of_our_keys_is_left_out() -> None:
    assert Match(1, "p1", None, "shoe", fields={"rank": 99, "score": 98}).to_dict() == {
        "rank": 1,
        "product_id": "p1",
        "score": None,
        "title": "shoe",
        "category": None,
    }


def test_every_kind_of_value_becomes_plain() -> None:
    values = {
        "date": datetime.date(2026, 1, 2),
        "datetime": datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC),
        "time": datetime.time(3, 4),
        "duration": datetime.timedelta(minutes=1.5),
        "bytes": b"\xff",
        "nan": float("nan"),
        "no decimal": decimal.Decimal("NaN"),
        "list": [1, None, [datetime.date(2026, 1, 2)]],
        "struct": {"a": decimal.Decimal("1.5")},
        "bool": True,
    }
    assert plain(values) == {
        "date": "2026-01-02",
        "datetime": "2026-01-02T03:04:00+00:00",
        "time": "03:04:00",
        "duration": 90.0,
        "bytes": "/w==",
        "nan": None,
        "no decimal": None,
        "list": [1, None, ["2026-01-02"]],
        "struct": {"a": 1.5},
        "bool": True,
    }
