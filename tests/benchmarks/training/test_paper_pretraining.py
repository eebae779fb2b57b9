"""The time of the paper's pre-training is extrapolated from that of the training loop, and marked so."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from benchmarks.training import paper_pretraining
from benchmarks.training.paper_pretraining import notes, table
from ubm_embed.model.user_behavior_model import InteractionEncoder

_TINY = {"products": 60, "sessions": 100, "layers": 1, "width": 16, "warm-up": 1, "steps": 2}
TINY = [*(f"--{name}={value}" for name, value in _TINY.items()), "--ceiling-shapes", "64x64x64"]
BATCHES = ["--item-batches", "4", "16", "--session-batches", "4"]


def report_of(out: Path, *arguments: str) -> Any:
    paper_pretraining.main([*TINY, *arguments, "--out", str(out)])
    return json.loads(out.read_text("utf-8"))


def test_an_epoch_is_extrapolated_from_the_steps_after_warm_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.json"
    report = report_of(out, *BATCHES)
    measured = capsys.readouterr().out
    assert [(row["stage"], row["batch"]) for row in report["rows"]] == [(1, 4), (2, 4), (1, 16)]
    sessions = report["rows"][1]
    assert [step["examples"] for step in sessions["steps"]] == [4, 4, 4]
    cost = median(step["seconds"] / 4 for step in sessions["steps"][1:])
    assert sessions["epoch_seconds"] == pytest.approx(2_950_000 * cost)
    assert sessions["extrapolated"]
    assert all(min(step["reading_seconds"], step["seconds"]) > 0 for row in report["rows"] for step in row["steps"])
    assert "(extrapolated)" in measured
    assert "Both stages at the fastest batches, extrapolated" in measured
    paper_pretraining.main(["--show", str(out)])
    assert capsys.readouterr().out == measured, "the table comes from the saved report alone"


def test_a_whole_epoch_of_enough_sessions_is_timed(tmp_path: Path) -> None:
    report = report_of(tmp_path / "report.json", *BATCHES, "--whole", "--paper-sessions", "10")
    assert report["sessions"] > 10
    for row in report["rows"]:
        spent = sum(step["seconds"] for step in row["steps"])
        assert row["epoch_seconds"] == pytest.approx(spent * 10 / report["sessions"])
        assert not row["extrapolated"]
    assert "(extrapolated)" not in table(report)
    assert "timed" in notes(report)


def test_a_row_that_fails_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no compiler\nhere")

    monkeypatch.setattr(InteractionEncoder, "compile", broken)
    report = report_of(tmp_path / "report.json", *BATCHES, "--compile", "--session-batches", "4", "5000")
    failed = [row.get("failed", "") for row in report["rows"]]
    assert failed[:3] == ["", "", ""]
    assert "only" in failed[3]
    assert failed[4:6] == ["RuntimeError: no compiler here"] * 2
    assert "no compiler here" in notes(report)
    assert "failed" in table(report)


def test_an_interrupted_run_leaves_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Any, stage: int, batch: int, compiled: bool) -> dict[str, Any]:
        if stage == 2:
            raise KeyboardInterrupt
        return {"failed": "not of interest"}

    monkeypatch.setattr(paper_pretraining.TrainingShop, "measure", interrupted)
    out = tmp_path / "report.json"
    with pytest.raises(KeyboardInterrupt):
        report_of(out, *BATCHES)
    assert [row["stage"] for row in json.loads(out.read_text("utf-8"))["rows"]] == [1]
