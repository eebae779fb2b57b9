"""Visits of Matomo: what the sample of `named/` does not show."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.ubm_embed.data.logs.reading import collect, dropped, kept, write
from ubm_embed.data.logs.ingestion import ingest
from ubm_embed.errors import InvalidData

SHOE = {"itemSKU": "p", "itemName": "Shoe", "itemCategory": "Wear", "price": 9.5, "quantity": 1}


def visit(*actions: dict[str, Any], number: int = 1, **other: Any) -> dict[str, Any]:
    timed = [{"timestamp": 1_709_287_200 + second, **action} for second, action in enumerate(actions)]
    return {"idVisit": number, "visitorId": "v", "actionDetails": timed, **other}


@pytest.mark.parametrize(
    ("categories", "expected"),
    [({"categories": ["Wear", "Shoes"]}, "Wear > Shoes"), ({"categories": []}, "Wear"), ({}, "Wear")],
)
@pytest.mark.parametrize("kind", ["ecommerceOrder", "ecommerceAbandonedCart"])
def test_items_have_all_levels_of_their_category(
    tmp_path: Path, kind: str, categories: dict[str, Any], expected: str
) -> None:
    log = [visit({"type": kind, "itemDetails": [SHOE | categories]})]
    assert kept(collect(write(tmp_path / "log.json", log), "matomo"), "product_id", "category") == [("p", expected)]


def test_views_have_the_levels_that_were_sent(tmp_path: Path) -> None:
    view = {"type": "action", "productViewSku": "p", "productViewCategories": ["Wear", "Shoes"], "pageId": "7"}
    frame = collect(write(tmp_path / "log.json", [visit(view)]), "matomo")
    assert kept(frame, "action", "category", "message_id") == [("view", "Wear > Shoes", "1-7")]


def test_other_actions_are_counted(tmp_path: Path) -> None:
    others = [{"type": kind} for kind in ("action", "event", "goal", "download", "outlink")]
    log = [visit(*others, {"type": "search", "siteSearchKeyword": "shoe"}), visit(number=2)]
    frame = collect(write(tmp_path / "log.json", log), "matomo")
    assert (kept(frame, "query"), dropped(frame)) == ([("shoe",)], {"other event": 6})


def test_a_visit_in_two_pages_of_the_api_counts_once(tmp_path: Path) -> None:
    view = {"type": "action", "productViewSku": "p", "productViewName": "Shoe", "pageId": "7"}
    order = {"type": "ecommerceOrder", "orderId": "T1", "itemDetails": [SHOE]}
    write(tmp_path / "log" / "page1.json", [visit(view)])
    write(tmp_path / "log" / "page2.json", [visit(view, order), visit(view | {"pageId": "9"}, number=2)])
    report = ingest([tmp_path / "log"], kind="matomo", out=tmp_path / "out")
    assert (report.sessions, report.actions, report.dropped) == (2, {"view": 2, "buy": 1}, {"duplicate message": 1})


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ([[visit()]], r"row 1: expected an object, got \[\{"),
        ({"result": "error", "message": "no token"}, "found result, message$"),
        ([], "no rows"),
    ],
)
def test_another_answer_of_the_api_is_refused(tmp_path: Path, answer: Any, problem: str) -> None:
    (tmp_path / "log.json").write_text(json.dumps(answer))
    with pytest.raises(InvalidData, match=problem):
        collect(tmp_path / "log.json", "matomo")
