"""The runner grows one thing at a time, and leaves out what does not fit into memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.report import RESULTS
from benchmarks.training import step_cost
from ubm_embed.data.text.token_table import TokenTable

_TINY = {"products": 60, "sessions": 80, "layers": 1, "width": 16, "batch": 3, "steps": 1}
TINY = [f"--{name}={value}" for name, value in _TINY.items()]


def test_each_case_grows_one_thing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.json"
    grown = ["--batches", "2", "6", "--interactions", "2", "8", "--titles", "0.5", "2"]
    step_cost.main([*TINY, *grown, "--out", str(out)])
    report = json.loads(out.read_text("utf-8"))
    assert str(tmp_path) not in out.read_text("utf-8"), "reports are published, so they hold no paths"
    cases = report["cases"]
    assert [case["what"] for case in cases] == ["batch"] * 2 + ["interactions"] * 2 + ["titles"] * 2
    assert [case["rounds"][0]["examples"] for case in cases] == [2, 6, 3, 3, 3, 3]
    tokens = [case["rounds"][0]["variants"]["longest"]["tokens"] for case in cases]
    assert all(small < large for small, large in zip(tokens[::2], tokens[1::2], strict=True))
    assert cases[2]["rounds"][0]["variants"]["longest"]["interactions"] <= 3 * 3 * 2, "views, sessions, interactions"
    measured = capsys.readouterr().out
    assert len(measured.splitlines()) == 2 + 2 * 6
    step_cost.main(["--show", str(out)])
    assert capsys.readouterr().out == measured, "the table comes from the saved report alone"


def test_a_variant_that_does_not_fit_into_memory_is_left_out_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fits = ["--batches", "2", "--interactions", "--titles", "--memory-gb", "0.001"]
    step_cost.main([*TINY, *fits, "--out", str(tmp_path / "report.json")])
    ours, longest = capsys.readouterr().out.splitlines()[2:]
    assert "sessions" not in ours
    assert "needs about" in longest


def test_earlier_reports_and_quick_runs_are_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    step_cost.main(["--show", str(RESULTS / "step_cost.json")])
    assert "| batch of 16 " in capsys.readouterr().out
    assert step_cost.parse(["--quick"]).batches == step_cost.QUICK["batches"]
    assert step_cost.parse(["--quick", "--batches", "8"]).batches == [8], "what is given wins"


def test_texts_are_stretched_by_the_factor() -> None:
    texts = TokenTable.from_rows([[1, 2, 3, 4], [5], [], list(range(40))])
    double, half = step_cost.stretched(texts, 2), step_cost.stretched(texts, 0.5)
    assert [double.row(row).tolist() for row in range(3)] == [[1, 2, 3, 4, 1, 2, 3, 4], [5, 5], []]
    assert double.lengths[3] == 61, "the maximum of a text"
    assert [half.row(row).tolist() for row in range(3)] == [[1, 2], [5], []]
    assert np.array_equal(step_cost.stretched(texts, 1).ids, texts.ids)
