"""The table of a report over several seeds."""

from __future__ import annotations

from typing import Any

from benchmarks.quality.heads import table


def row(name: str, error: float, p: float | None) -> dict[str, Any]:
    metrics = {name: {"value": error, "low": error - 0.1, "high": error + 0.1} for name in ("mae", "msle", "r2")}
    return {"row": name, "metrics": metrics, "p_values": None if p is None else dict.fromkeys(metrics, p)}


def run(ours: float, theirs: float, p: float) -> dict[str, Any]:
    rows = [row("UBM", ours, None), row("trees on counts", theirs, p)]
    return {"cost": {"pretrain": {"seconds": 2.0, "peak_mb": 500}}, "results": {"examples": 42, "rows": rows}}


def test_a_table_has_means_and_how_often_the_model_is_ahead() -> None:
    settings = {"task": "rlp", "data": "a_shop"}
    text = table({"settings": settings, "runs": [run(0.2, 0.5, 0.01), run(0.4, 0.3, 0.2)]})
    assert text.startswith("a_shop, rlp, 42 questions, 2 seeds\n\n")
    cells = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")] for line in text.splitlines()[2:6]}
    assert cells["UBM"][2:4] == ["0.3000 (0.2000 to 0.4000)", ""]
    assert cells["trees on counts"][2:4] == ["0.4000 (0.3000 to 0.5000)", "1 of 2 (0.200)"]
    assert cells["trees on counts"][-2] == "1 of 2 (0.200)"  # more of R² is better
    assert "| pretrain" in text
