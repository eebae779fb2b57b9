"""The benchmark of queries with counts, of a small shop: its figures mean nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.retrieval import count_cost
from benchmarks.retrieval.shop_home import TrainedShop


def test_made_up_counts_are_valid(tmp_path: Path) -> None:
    counts = count_cost.made_up_counts(tmp_path / "counts.arrow", 50, 7, seed=0)
    counts.require_valid()
    assert np.diff(counts.transitions.offsets).tolist() == [7] * 50


def test_queries_with_and_without_counts_are_timed_side_by_side(
    shop: TrainedShop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.json"
    options = ("--sessions", "3", "--rounds", "1", "--neighbours", "0", "5", "--out", str(out))
    count_cost.main([str(shop.home), *options])
    report = json.loads(out.read_text("utf-8"))
    assert [row["neighbours"] for row in report["rows"]] == [0, 5]
    assert [row["file_bytes"] > 0 for row in report["rows"]] == [False, True]
    count_cost.main(["--show", str(out)])
    assert "| 5 " in capsys.readouterr().out
