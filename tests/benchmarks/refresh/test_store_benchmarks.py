"""The runners of refreshes save raw figures of what they measure."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import polars as pl
import pytest

from benchmarks.changed_catalogue import change
from benchmarks.refresh import refresh_cost, store_growth
from benchmarks.refresh.toy_store import write_catalogue
from benchmarks.report import RESULTS


def test_a_night_changes_the_given_share(tmp_path: Path) -> None:
    catalogue = write_catalogue(tmp_path, 200, 0)
    before, after = pl.read_parquet(catalogue), pl.read_parquet(change(catalogue, 0.05, 1))
    assert (before["title"] != after["title"]).sum() == 10
    assert (before["price"] != after["price"]).sum() == 10
    assert before["product_id"].equals(after["product_id"])


def test_a_report_of_refreshes_has_raw_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # In this process: child processes add seconds, and only matter for the memory.
    monkeypatch.setattr(
        refresh_cost,
        "in_child",
        lambda step, **arguments: refresh_cost.child(step, [f"{name}={value}" for name, value in arguments.items()]),
    )
    out = tmp_path / "report.json"
    refresh_cost.main(["--products", "100", "--share", "0.05", "--repeats", "1", "--out", str(out)])
    report = json.loads(out.read_text("utf-8"))
    assert str(tmp_path) not in out.read_text("utf-8"), "reports are published, so they hold no paths"
    (size,) = report["sizes"]
    (only,) = size["rounds"]
    assert (only["refresh"]["encoded"], only["refresh"]["written"], only["rebuild"]["encoded"]) == (5, 10, 100)
    assert len(size["publish"]["publish_ms"]) == 20
    measured = capsys.readouterr().out
    refresh_cost.main(["--show", str(out)])
    assert capsys.readouterr().out == measured, "the table comes from the saved report alone"


def test_a_report_of_growth_has_every_night(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.json"
    store_growth.main(["--products", "100", "--nights", "2", "--upserts", "6", "--out", str(out)])
    report = json.loads(out.read_text("utf-8"))
    assert len(report["nights"]) == 3
    first, *later = report["nights"]
    assert "recall" not in first
    assert all(night["recall"] == 1 and night["largest"] > first["store"] for night in later)
    assert all(
        night["store"] >= sum(night[part] for part in ("products.lance", "versions")) for night in report["nights"]
    )
    measured = capsys.readouterr().out
    assert "lowest recall@10 of 2 nights 1.0000; indexes: kept_up 2" in measured
    store_growth.main(["--show", str(out)])
    assert capsys.readouterr().out == measured, "the table comes from the saved report alone"


@pytest.mark.parametrize("name", ["refresh_cost", "refresh_cost_paper_encoder"])
def test_earlier_reports_can_be_printed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    refresh_cost.main(["--show", str(RESULTS / f"{name}.json")])
    assert "MB after imports" in capsys.readouterr().out


def test_a_child_process_runs_the_module_of_the_runner() -> None:
    assert importlib.util.find_spec(refresh_cost.MODULE)
