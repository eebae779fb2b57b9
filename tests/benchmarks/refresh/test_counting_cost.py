"""The benchmark of counting, of a small log: its figures mean nothing."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from benchmarks.refresh import counting_cost


def test_a_log_is_counted_and_written(tmp_path: Path) -> None:
    ids = pl.Series([f"p{number}" for number in range(40)])
    log = counting_cost.write_log(tmp_path / "log.parquet", ids, 500, seed=0)
    figures = counting_cost.count(log, tmp_path / "counts.arrow")
    assert figures["interactions"] == 500
    assert figures["sessions"] == pl.read_parquet(log)["session_id"].n_unique()
    assert figures["pairs"] > 40
    assert figures["file_bytes"] == (tmp_path / "counts.arrow").stat().st_size
    table = counting_cost.table({"counting": figures, "refreshes": {"none": figures["write"]}})
    assert "refresh, interactions: none" in table
