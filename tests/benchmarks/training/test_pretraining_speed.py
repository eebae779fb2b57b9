"""The runner saves raw figures of every variant, and times nothing where losses differ."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.report import RESULTS
from benchmarks.training import pretraining_speed
from benchmarks.training.padded_model import PaddedModel
from benchmarks.training.pretraining_speed import notes, table
from benchmarks.training.trainer_variant import missing_packages
from benchmarks.training.training_input import Step
from tests.cpu import in_bfloat16

_TINY = {"products": 60, "sessions": 80, "layers": 1, "width": 16, "item-batch": 4, "session-batch": 2, "steps": 1}
TINY = [*(f"--{name}={value}" for name, value in _TINY.items()), "--ceiling-shapes", "64x64x64"]


@in_bfloat16
def test_a_report_holds_the_raw_figures_of_every_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.json"
    pretraining_speed.main([*TINY, "--precisions", "float32", "bfloat16", "--out", str(out)])
    report = json.loads(out.read_text("utf-8"))
    assert report["machine"]["cores"] >= 1
    assert report["versions"]["torch"] == torch.__version__
    assert str(tmp_path) not in out.read_text("utf-8"), "reports are published, so they hold no paths"
    assert report["ceiling"].keys() == {"float32", "bfloat16"}
    trainers = 0 if missing_packages() else 2
    for stage, examples, variants in zip(report["stages"], (4, 2), (6 + trainers, 8), strict=True):
        (only,) = stage["rounds"]
        assert only["examples"] == examples
        assert len(only["variants"]) == variants
        ours, full = only["variants"]["ours bfloat16"], only["variants"]["full bfloat16"]
        assert ours["tokens"] <= full["tokens"]
        assert ours["flops"] < full["flops"], "padded variants encode every occurrence, and all of the last layer"
        assert ours["token_slots"] < full["token_slots"]
        for variant in only["variants"].values():
            assert min(variant["seconds"], variant["reading_seconds"]) > 0
            assert variant["tokens"] <= variant["token_slots"]
    assert report["stages"][1]["rounds"][0]["variants"]["full float32"]["token_slots"] == 3 * 2 * 32 * 64
    measured = capsys.readouterr().out
    pretraining_speed.main(["--show", str(out)])
    assert capsys.readouterr().out == measured, "the table comes from the saved report alone"


def test_nothing_is_timed_when_losses_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interactions = PaddedModel.interactions
    monkeypatch.setattr(PaddedModel, "interactions", lambda self, tokens: interactions(self, tokens) + 0.5)
    with pytest.raises(SystemExit, match="nothing was timed"):
        pretraining_speed.main([*TINY, "--variants", "longest", "--out", str(tmp_path / "report.json")])
    assert not (tmp_path / "report.json").exists()


def test_drawing_the_views_is_part_of_every_step_that_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Step.read
    monkeypatch.setattr(Step, "read", lambda *arguments: replace(read(*arguments), reading_seconds=1000.0))
    out = tmp_path / "report.json"
    pretraining_speed.main([*TINY, "--stages", "1", "--out", str(out)])
    variants = json.loads(out.read_text("utf-8"))["stages"][0]["rounds"][0]["variants"]
    drawn = {name for name, variant in variants.items() if variant["reading_seconds"] > 1000}
    assert drawn == {name for name in variants if not name.startswith("sentence-transformers")}


def test_a_missing_package_is_named_and_its_variant_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pretraining_speed, "missing_packages", lambda: ["datasets"])
    out = tmp_path / "report.json"
    pretraining_speed.main([*TINY, "--stages", "1", "--variants", "sentence-transformers", "--out", str(out)])
    output = capsys.readouterr()
    assert "pip install datasets" in output.err
    assert "sentence-transformers is left out: not installed were datasets" in output.out


def step(seconds: float, **work: int) -> dict[str, Any]:
    """A step that spends a fifth of its time on reading."""
    return {"seconds": 0.8 * seconds, "reading_seconds": 0.2 * seconds, **work}


def test_the_table_is_medians_over_the_rounds() -> None:
    ours = {"sequences": 6, "interactions": 6, "token_slots": 60, "tokens": 60, "flops": 60}
    others = {"sequences": 20, "interactions": 8, "token_slots": 400, "tokens": 80, "flops": 80 * 10**9}
    rounds = [
        {
            "examples": 10,
            "variants": {
                "ours bfloat16": step(base, **ours),
                "ours float32": step(2 * base, **ours),
                "full float32": step(full, **others),
            },
        }
        for base, full in ((1.0, 4.0), (2.0, 20.0), (4.0, 24.0))
    ]
    paper = {"examples": 128, "variants": {"ours": ours, "full": others}}
    report = {
        "ceiling": {"bfloat16": {"flops": 50e9}, "float32": {"flops": 20e9}},
        "missing_packages": [],
        "stages": [{"stage": 2, "rounds": rounds, "paper_batch": paper}],
    }
    cells = [cell.strip() for cell in table(report).splitlines()[4].split("|")[1:-1]]
    expected = ["2, padded to 32 x 64, float32", "0.5 sessions", "6.0 x", "20.000", "20.0%", "5", "25%"]
    assert cells == [*expected, "400", "80%", "8"]
    text = notes(report)
    assert "encodes 75% of the interactions" in text
    assert "Drawing, masking and packing take 20.0% of its step" in text
    assert "Stage 2, float32 against float32: padded to 32 x 64 3.0 x." in text
    assert "50 in bfloat16, 20 in float32" in text


@pytest.mark.parametrize("file", sorted(RESULTS.glob("pretraining_speed*.json")), ids=lambda file: file.stem)
def test_the_tables_of_earlier_reports_can_be_printed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pretraining_speed.main(["--show", str(file)])
    assert "2, padded to 32 x 64, float32" in capsys.readouterr().out
