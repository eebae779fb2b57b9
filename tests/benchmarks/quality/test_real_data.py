"""The tables of a real-data report, in today's form and of earlier reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.quality.real_data import table
from benchmarks.report import RESULTS

SAVED = sorted(RESULTS.glob("real_data_*.json"))


def report(results: Any) -> dict[str, Any]:
    return {"settings": {"data": "a_shop"}, "seconds": {"pretrain": 12.34, "evaluate": 5.0}, "results": results}


def cells(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "--" not in line]


def test_an_evaluation_becomes_a_table() -> None:
    metrics = {"hit@10": 0.25, "mrr@10": 0.125, "hit@20": 0.5, "mrr@20": 0.14}
    measured = {name: {"value": value, "low": value - 0.1, "high": value + 0.1} for name, value in metrics.items()}
    rows = [{"row": name, "metrics": measured, "p_values": None, "bands": []} for name in ("UBM", "POP")]
    text = table(report({"task": "nip", "examples": 42, "rows": rows}))
    assert text.startswith("a_shop, 42 questions\n\n")
    assert cells(text) == [
        ["model", "hit@10", "MRR@10", "hit@20", "MRR@20"],
        ["UBM", "0.2500", "0.1250", "0.5000", "0.1400"],
        ["POP", "0.2500", "0.1250", "0.5000", "0.1400"],
        ["command", "seconds"],
        ["pretrain", "12.3"],
        ["evaluate", "5.0"],
    ]


def test_a_list_of_scorers_becomes_the_same_table() -> None:
    scorer = {"scorer": "UBM", "questions": 42, "hit": {"10": 0.25, "20": 0.5}, "mrr": {"10": 0.125, "20": 0.14}}
    text = table(report([scorer]))
    assert text.startswith("a_shop, 42 questions\n\n")
    assert cells(text)[:2] == [
        ["model", "hit@10", "MRR@10", "hit@20", "MRR@20"],
        ["UBM", "0.2500", "0.1250", "0.5000", "0.1400"],
    ]


@pytest.mark.parametrize("file", SAVED, ids=lambda file: file.stem)
def test_earlier_reports_can_be_printed(file: Path) -> None:
    text = table(json.loads(file.read_text("utf-8")))
    names = {first for first, *_ in cells(text)}
    assert {"UBM", "co-occurrence", "pretrain", "query"} <= names
