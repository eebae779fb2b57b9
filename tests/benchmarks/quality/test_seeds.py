"""Runs of one table with several seeds become one table of means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.quality import seeds


def report(seed: int, hits: dict[str, float], **settings: Any) -> dict[str, Any]:
    about = {"task": "nip", "data": "shop", "size": "small", "split": "time", "holdout": 0.2, "seed": seed, "table": 1}
    rows = [
        {"row": name, "seconds": 60.0, "metrics": {"hit@10": {"value": hit, "low": hit - 0.1, "high": hit + 0.1}}}
        for name, hit in hits.items()
    ]
    return {"settings": about | settings, "questions": 1000, "rows": rows}


def test_a_figure_is_the_mean_with_its_range_and_the_mean_interval() -> None:
    shown = seeds.table([report(0, {"UBM": 0.2, "POP": 0.1}), report(7, {"UBM": 0.4, "POP": 0.1})])
    assert "1,000 questions, seeds 0, 7" in shown
    ubm, pop = (line for line in shown.splitlines() if line.startswith(("| UBM", "| POP")))
    assert "0.300 (0.200 to 0.400) [0.200, 0.400]" in ubm
    assert "0.100 (0.100 to 0.100) [0.000, 0.200]" in pop
    assert ubm.split("|")[-2].strip() == "1.0", "minutes"


def test_a_single_run_has_no_range() -> None:
    shown = seeds.table([report(3, {"UBM": 0.2})])
    assert "1,000 questions, seed 3**" in shown
    assert "| 0.200 [0.100, 0.300] |" in shown


def test_rows_that_not_all_have_are_left_out() -> None:
    shown = seeds.table([report(0, {"UBM": 0.2, "POP": 0.1}), report(1, {"UBM": 0.4})])
    assert "| POP" not in shown


@pytest.mark.parametrize("other", [{"data": "another"}, {"split": "session"}, {"task": "pip"}])
def test_runs_of_different_tables_are_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    files = [tmp_path / "0.json", tmp_path / "1.json"]
    for number, (file, settings) in enumerate(zip(files, ({}, other), strict=True)):
        file.write_text(json.dumps(report(number, {"UBM": 0.2}, **settings)), "utf-8")
    with pytest.raises(SystemExit, match=next(iter(other))):
        seeds.main([str(file) for file in files])
