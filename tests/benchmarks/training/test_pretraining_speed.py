"""The runner measures what it says on a tiny shop, keeps it raw, and times nothing where losses differ."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.training import pretraining_speed
from benchmarks.training.plain_form import PlainModel
from benchmarks.training.speed_table import notes, table
from benchmarks.training.trainer_form import lacking_packages
from benchmarks.training.training_input import Step

_TINY = {"products": 60, "sessions": 80, "layers": 1, "width": 16, "item-batch": 4, "session-batch": 2, "steps": 1}
TINY = [f"--{name}={value}" for name, value in _TINY.items()]


@pytest.fixture(autouse=True)
def _small_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product of a moment."""
    monkeypatch.setattr("benchmarks.training.ceiling.SHAPES", ((64, 64, 64),))


def test_a_report_holds_the_raw_figures_of_every_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.json"
    pretraining_speed.main([*TINY, "--precisions", "float32", "bfloat16", "--out", str(out)])
    report = json.loads(out.read_text("utf-8"))
    assert report["machine"]["cores"] >= 1
    assert report["versions"]["torch"] == torch.__version__
    assert str(tmp_path) not in out.read_text("utf-8"), "a report is published: no paths"
    assert report["ceiling"].keys() == {"float32", "bfloat16"}
    trainers = 0 if lacking_packages() else 2
    for stage, examples, forms in zip(report["stages"], (4, 2), (6 + trainers, 8), strict=True):
        (only,) = stage["rounds"]
        assert only["examples"] == examples
        assert len(only["forms"]) == forms
        ours, plain = only["forms"]["ours bfloat16"], only["forms"]["plain bfloat16"]
        assert ours["tokens"] <= plain["tokens"]
        assert ours["flops"] < plain["flops"], "each occurrence, and all of the last layer"
        assert ours["places"] < plain["places"]
        for form in only["forms"].values():
            assert min(form["seconds"], form["reading_seconds"]) > 0
            assert form["tokens"] <= form["places"]
    assert report["stages"][1]["rounds"][0]["forms"]["plain float32"]["places"] == 3 * 2 * 32 * 64
    measured = capsys.readouterr().out
    pretraining_speed.main(["--show", str(out)])
    assert capsys.readouterr().out == measured, "the table comes from the kept report alone"


def test_nothing_is_timed_when_losses_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interactions = PlainModel.interactions
    monkeypatch.setattr(PlainModel, "interactions", lambda self, tokens: interactions(self, tokens) + 0.5)
    with pytest.raises(SystemExit, match="nothing was timed"):
        pretraining_speed.main([*TINY, "--forms", "longest", "--out", str(tmp_path / "report.json")])
    assert not (tmp_path / "report.json").exists()


def test_drawing_the_views_is_part_of_every_step_that_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Step.read
    monkeypatch.setattr(Step, "read", lambda *given: replace(read(*given), reading_seconds=1000.0))
    out = tmp_path / "report.json"
    pretraining_speed.main([*TINY, "--stages", "1", "--out", str(out)])
    forms = json.loads(out.read_text("utf-8"))["stages"][0]["rounds"][0]["forms"]
    drawn = {name for name, form in forms.items() if form["reading_seconds"] > 1000}
    assert drawn == {name for name in forms if not name.startswith("sentence-transformers")}


def test_what_is_not_installed_is_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pretraining_speed, "lacking_packages", lambda: ["datasets"])
    out = tmp_path / "report.json"
    pretraining_speed.main([*TINY, "--stages", "1", "--forms", "sentence-transformers", "--out", str(out)])
    said = capsys.readouterr()
    assert "pip install datasets" in said.err
    assert "sentence-transformers is left out: not installed were datasets" in said.out


def taken(seconds: float, **more: int) -> dict[str, Any]:
    """A step of which a fifth is reading."""
    return {"seconds": 0.8 * seconds, "reading_seconds": 0.2 * seconds, **more}


def test_the_table_is_medians_over_the_rounds() -> None:
    ours = {"sequences": 6, "interactions": 6, "places": 60, "tokens": 60, "flops": 60}
    others = {"sequences": 20, "interactions": 8, "places": 400, "tokens": 80, "flops": 80 * 10**9}
    rounds = [
        {
            "examples": 10,
            "forms": {
                "ours bfloat16": taken(base, **ours),
                "ours float32": taken(2 * base, **ours),
                "plain float32": taken(plain, **others),
            },
        }
        for base, plain in ((1.0, 4.0), (2.0, 20.0), (4.0, 24.0))
    ]
    paper = {"examples": 128, "forms": {"ours": ours, "plain": others}}
    report = {
        "ceiling": {"bfloat16": {"flops": 50e9}, "float32": {"flops": 20e9}},
        "lacking": [],
        "stages": [{"stage": 2, "rounds": rounds, "paper_batch": paper}],
    }
    cells = [cell.strip() for cell in table(report).splitlines()[4].split("|")[1:-1]]
    expected = ["2, padded to 32 x 64, float32", "0.5 sessions", "6.0 x", "20.000", "20.0%", "5", "25%"]
    assert cells == [*expected, "400", "80%", "8"]
    said = notes(report)
    assert "encodes 75% of the interactions" in said
    assert "Drawing, masking and packing take 20.0% of its step" in said
    assert "Stage 2, float32 against float32: padded to 32 x 64 3.0 x." in said
    assert "50 in bfloat16, 20 in float32" in said
