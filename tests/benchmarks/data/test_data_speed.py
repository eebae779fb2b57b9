"""The runner saves raw figures of every step, and stops where a step and its baseline differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.data import data_speed
from benchmarks.data.data_steps import BASELINE, OURS, STEPS
from benchmarks.report import RESULTS
from ubm_embed.data.sample_shop import write_sample_shop

TINY = ["--products", "60", "--sessions", "80", "--rounds", "1", "--times", "2"]


def test_a_report_has_the_raw_figures_of_the_chosen_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.json"
    data_speed.main([*TINY, "--steps", "texts", "vocabulary", "jsonl", "longer", "--out", str(out)])
    report = json.loads(out.read_text("utf-8"))
    assert str(tmp_path) not in out.read_text("utf-8"), "reports are published, so they hold no paths"
    assert list(report["steps"]) == ["longer", "jsonl", "vocabulary", "texts"], "in an order that can be run"
    assert set(report["steps"]["jsonl"]) == {OURS, BASELINE}
    figures = [one for variants in report["steps"].values() for rounds in variants.values() for one in rounds]
    assert all(one["seconds"] > 0 and one["megabytes"] >= one["megabytes_before"] > 0 for one in figures)
    assert report["steps"]["longer"][OURS][0]["items"] == 2 * report["steps"]["jsonl"][OURS][0]["items"]
    assert report["steps"]["texts"][OURS][0]["items"] == report["corpus"]["products"] == 60
    measured = capsys.readouterr().out
    data_speed.main(["--show", str(out)])
    assert capsys.readouterr().out == measured, "the table comes from the saved report alone"


def test_another_corpus_can_be_measured(tmp_path: Path) -> None:
    write_sample_shop(tmp_path / "shop", products=30, sessions=20)
    out = tmp_path / "report.json"
    data_speed.main([*TINY, "--corpus", str(tmp_path / "shop"), "--steps", "open", "--out", str(out)])
    report = json.loads(out.read_text("utf-8"))
    assert (report["settings"]["corpus"], report["corpus"]["sessions"]) == ("shop", 20)
    assert "seconds_to_make" not in report["corpus"]


def test_a_baseline_with_another_result_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def figures(step: str, variant: str, folder: Path) -> dict[str, Any]:
        return {"seconds": 1.0, "result": f"{step} {variant}"}

    monkeypatch.setattr(data_speed, "_in_process", figures)
    with pytest.raises(SystemExit, match="ours and a dictionary of rows differ: equal baseline and equal ours"):
        data_speed.main([*TINY, "--steps", "equal", "--out", str(tmp_path / "report.json")])
    assert not (tmp_path / "report.json").exists()


def test_the_table_is_medians_over_the_rounds() -> None:
    def rounds(*seconds: float) -> list[dict[str, Any]]:
        return [
            {"seconds": one, "items": 1_000_000, "megabytes_before": 100, "megabytes": 100 + 10 * one}
            for one in seconds
        ]

    report = {
        "settings": {"times": 4, "rounds": 3},
        "corpus": {"products": 5, "sessions": 7, "interactions": 9},
        "steps": {"longer": {OURS: rounds(1, 2, 30)}, "jsonl": {OURS: rounds(1, 2, 3), BASELINE: rounds(3, 4, 30)}},
    }
    lines = data_speed.table(report).splitlines()
    longer, lined = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:])
    assert longer == ["ingest, Parquet, 4 x as long", "30.0 interactions", "2.00", "120", "100", "", "", "", ""]
    assert lined[1:5] == ["30.0 interactions", "2.00", "120", "100"]
    assert lined[5:] == ["a loop over json.loads", "4.00", "140", "3.0 x"]


def test_every_step_and_every_baseline_has_a_label() -> None:
    assert data_speed.LABELS.keys() == STEPS.keys()
    assert data_speed.BASELINES.keys() == {step for step, variants in STEPS.items() if BASELINE in variants}


def test_earlier_reports_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    data_speed.main(["--show", str(RESULTS / "data_speed.json")])
    assert "| find equal texts" in capsys.readouterr().out
