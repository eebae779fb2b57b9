"""The report has what its table shows; the figures of so small a shop mean nothing."""

from __future__ import annotations

import json

import pytest

from benchmarks.diagnostics import diagnose
from benchmarks.report import RESULTS
from benchmarks.retrieval.shop_home import TrainedShop
from indexer.diagnostics import diagnosis
from indexer.diagnostics.settings import DiagnosisSettings

SMALL = {"sample": 20, "queries": 5, "texts": 5, "sessions": 5, "rounds": 20}


def test_commands_and_sections_are_measured(shop: TrainedShop, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def cost(command: list[str], environment: object) -> dict[str, float]:
        commands.append(command)
        return {"seconds": 2.0, "cpu_seconds": 3.0, "peak_mb": 400.0}

    small, section = DiagnosisSettings(**SMALL), diagnosis.space_section
    monkeypatch.setattr(diagnose, "command_cost", cost)
    monkeypatch.setattr(diagnose, "DiagnosisSettings", lambda: small)
    monkeypatch.setattr(diagnose, "_SMALL", small)
    report = diagnose.measure(diagnose.parse([str(shop.home), "--rounds", "2"]))
    assert [("--corpus" in one, "--html" in one) for one in commands] == 2 * [(0, 0), (1, 0), (1, 1)]
    assert {"space", "alignment", "answers", "map"} <= set(report["sections"])
    assert diagnosis.space_section is section
    text = diagnose.table(json.loads(json.dumps(report)))
    assert "1,200 products" in text
    assert "400" in text


def test_the_saved_report_has_a_table() -> None:
    report = json.loads((RESULTS / "diagnose.json").read_text("utf-8"))
    assert "1,000,000 products" in diagnose.table(report)
