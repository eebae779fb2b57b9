"""Nights that change prices or titles alone: what they change, and what the runner saves of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks.refresh import night_process, nights
from benchmarks.refresh.toy_store import write_catalogue
from benchmarks.retrieval.shop_home import TrainedShop


@pytest.mark.parametrize(("what", "column"), [("prices", "price"), ("titles", "title")])
def test_a_night_changes_one_column_of_other_products_each_time(tmp_path: Path, what: str, column: str) -> None:
    feed = nights.Feed(write_catalogue(tmp_path, 200, 0), tmp_path / "feed.parquet", 0.05)
    before, changed = feed.rows, []
    for night in (1, 2):
        feed.change(what, night)
        after = pl.read_parquet(feed.file)
        assert after.drop(column).equals(before.drop(column))
        changed.append(set(after.filter(after[column] != before[column])["product_id"]))
        before = after
    assert [len(ids) for ids in changed] == [10, 10]
    assert changed[0] != changed[1]


def test_a_report_has_every_night_by_every_code(
    shop: TrainedShop, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # In this process and by one code: child processes add seconds.
    def refreshed(code: Path, store: Path, feed: Path) -> dict[str, Any]:
        return night_process.figures(str(store), str(feed))

    monkeypatch.setattr(nights, "night_of", refreshed)
    monkeypatch.setattr(nights, "commit_of", lambda root: "0000000")
    out = tmp_path / "report.json"
    nights.main([str(shop.home), "--before", str(tmp_path), "--repeats", "1", "--out", str(out)])
    report = json.loads(out.read_text("utf-8"))
    assert str(tmp_path) not in out.read_text("utf-8"), "reports are published, so they hold no paths"
    assert sorted((one["change"], one["code"]) for one in report["nights"]) == [
        *(("prices", code) for code in ("before", "now")),
        *(("titles", code) for code in ("before", "now")),
    ]
    assert {one["change"]: one["encoded"] for one in report["nights"]} == {"prices": 0, "titles": 12}
    assert all(one["published"] for one in report["nights"])
    measured = capsys.readouterr().out
    assert "beyond encoding" in measured
    nights.main(["--show", str(out)])
    assert capsys.readouterr().out == measured, "the table comes from the saved report alone"
