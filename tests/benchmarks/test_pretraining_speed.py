"""The runner measures what it says on a tiny shop, keeps it raw, and times nothing where losses differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import pretraining_speed
from benchmarks.plain_form import PlainModel

_TINY = {"products": 60, "sessions": 80, "layers": 1, "width": 16, "item-batch": 4, "session-batch": 2, "steps": 1}
TINY = [f"--{name}={value}" for name, value in _TINY.items()]


def test_a_report_holds_the_raw_figures_of_every_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.json"
    pretraining_speed.main([*TINY, "--out", str(out)])
    report = json.loads(out.read_text("utf-8"))
    assert report["machine"]["cores"] >= 1
    assert report["versions"]["torch"] == torch.__version__
    assert str(tmp_path) not in out.read_text("utf-8"), "a report is published: no paths"
    for stage, examples, forms in zip(report["stages"], (4, 2), (3, 4), strict=True):
        (only,) = stage["rounds"]
        assert only["examples"] == examples
        assert len(only["forms"]) == forms
        assert only["forms"]["ours"]["places"] == only["forms"]["ours"]["tokens"], "ours pads nothing"
        assert only["forms"]["ours"]["tokens"] <= only["forms"]["plain"]["tokens"]
        assert all(form["seconds"] > 0 for form in only["forms"].values())
    assert report["stages"][1]["rounds"][0]["forms"]["plain"]["places"] == 3 * 2 * 32 * 64
    measured = capsys.readouterr().out
    pretraining_speed.main(["--show", str(out)])
    assert capsys.readouterr().out == measured, "the table comes from the kept report alone"


def test_nothing_is_timed_when_losses_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interactions = PlainModel.interactions
    monkeypatch.setattr(PlainModel, "interactions", lambda self, tokens: interactions(self, tokens) + 0.5)
    with pytest.raises(SystemExit, match="nothing was timed"):
        pretraining_speed.main([*TINY, "--forms", "longest", "--out", str(tmp_path / "report.json")])
    assert not (tmp_path / "report.json").exists()


def test_the_table_is_medians_over_the_rounds() -> None:
    rounds = [
        {
            "examples": 10,
            "reading_seconds": 0.1,
            "forms": {
                "ours": {"seconds": ours, "sequences": 6, "interactions": 6, "places": 60, "tokens": 60},
                "plain": {"seconds": plain, "sequences": 20, "interactions": 8, "places": 400, "tokens": 80},
            },
        }
        for ours, plain in ((1.0, 4.0), (2.0, 20.0), (4.0, 24.0))
    ]
    stage = {"stage": 2, "rounds": rounds, "paper_batch": rounds[0]}
    cells = [cell.strip() for cell in pretraining_speed.table({"stages": [stage]}).splitlines()[3].split("|")[1:-1]]
    assert cells == ["2, padded to 32 x 64", "0.50 sessions", "6.0 x", "20.00", "400", "80%", "8"]
    assert "encodes 75% of the interactions" in pretraining_speed.notes({"stages": [stage]})
