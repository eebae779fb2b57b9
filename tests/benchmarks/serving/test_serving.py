"""The whole run, and the tables of its report; the figures of so small a shop mean nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.retrieval.shop_home import TrainedShop
from benchmarks.serving import serving
from benchmarks.serving.services import Cores
from benchmarks.serving.serving_table import table


def figures(rate: float, p90: float = 500.0, **more: Any) -> dict[str, Any]:
    return {
        "rate": rate,
        "offered_per_s": rate,
        "answered": 100,
        "answered_per_s": rate,
        "refused": 0,
        "errors": {},
        "p50_ms": p90 / 2,
        "p90_ms": p90,
        "p99_ms": 2 * p90,
        "cpu_ms": 1.25,
        "own_mb": 100.0,
        "generator": {"kept_up": True},
        **more,
    }


def test_a_table_has_the_highest_rates_that_were_kept_up_with() -> None:
    rows = [figures(100.0, 2.0), figures(600.0, 6.0), figures(700.0, 9.0), figures(800.0, 50.0, refused=3)]
    over = figures(1600.0, 60.0, answered_per_s=750.0, refused=900, errors={"lost": 2})
    shop = {"products": 1200, "services": {"ours": rows}, "overload": {"ours": over}}
    first, second = (line for line in table({"shops": [shop]}).splitlines() if "whole sessions" in line)
    cells = [cell.strip() for cell in first.split("|")[1:-1]]
    assert cells == ["ubm-embed, whole sessions", "700", "600", "1.0 2.0 4.0", "3.0 6.0 12.0", "1.25", "100"]
    assert [cell.strip() for cell in second.split("|")[2:-1]] == ["1600", "750", "120.0", "900", "2 lost", "1.25"]


def test_a_service_that_keeps_up_with_nothing_has_a_row_and_a_late_generator_a_line() -> None:
    rows = [figures(100.0, 500.0, generator={"kept_up": False}), figures(200.0, cpu_ms=None)]
    rows[1] |= {"refused": 7, "p50_ms": None, "p90_ms": None, "p99_ms": None}
    text = table({"shops": [{"products": 1200, "services": {"rival": rows}, "overload": {"rival": rows[1]}}]})
    assert "none" in text
    assert "In 1 of these the load generator itself was late." in text


def test_a_server_and_the_generator_need_a_core_each() -> None:
    assert Cores.from_available([0, 1, 2, 3]) == Cores([2], [3])
    with pytest.raises(RuntimeError, match="a core each"):
        Cores.from_available([0])


@pytest.mark.slow
def test_a_run_measures_every_service(shop: TrainedShop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.json"
    sizes = "--products 0 --rates 20 --seconds 1 --sessions 50 --swaps 1 --steady-rate 20 --steady-seconds 2"
    serving.main([str(shop.home), *sizes.split(), "--out", str(out)])
    measured = capsys.readouterr().out
    report = json.loads(out.read_text("utf-8"))
    assert str(tmp_path) not in out.read_text("utf-8"), "reports are published, so they hold no paths"
    (services,) = (one["services"] for one in report["shops"])
    assert list(services) == ["ours", "ours_events", "one_at_a_time", "rival"]
    assert all(rows[0]["answered"] > 0 and not rows[0]["errors"] for rows in services.values())
    assert (report["swaps"]["swaps_seen"], report["swaps"]["mixed"]) == (1, 0)
    assert report["steady"]["errors"] == []
    serving.main(["--show", str(out)])
    assert capsys.readouterr().out == measured, "the tables come from the saved report alone"
