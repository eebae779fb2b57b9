"""Tables from saved reports: values, intervals, the best in bold, the star, the notes, and means over seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.quality import table_view
from benchmarks.quality.table_view import markdown, seeds_table
from benchmarks.report import RESULTS


def row(name: str, *, note: str = "", p: float | None = 0.01, **metrics: float) -> dict[str, Any]:
    """A row whose intervals are 0.02 to either side of the values."""
    measured = {metric.replace("_at_", "@"): value for metric, value in metrics.items()}
    return {
        "row": name,
        "group": "ours" if name == "UBM" else "text",
        "note": note,
        "metrics": {
            metric: {"value": value, "low": value - 0.02, "high": value + 0.02} for metric, value in measured.items()
        },
        "p_values": None if name == "UBM" else dict.fromkeys(measured, p),
        "bands": [],
    }


def report(task: str, *rows: dict[str, Any]) -> dict[str, Any]:
    settings = {"table": 1, "task": task, "data": "uci_online_retail", "size": "small", "seed": 0}
    return {"benchmark": "table_1", "settings": settings, "questions": 1829, "rows": list(rows)}


def cells(text: str) -> dict[str, list[str]]:
    """The cells of each row, by the row's name."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:])]
    return {first: others for first, *others in split}


def test_a_cell_is_a_value_with_its_interval_and_the_best_is_bold() -> None:
    text = markdown(report("nip", row("POP", hit_at_10=0.25, mrr_at_10=0.5), row("UBM", hit_at_10=0.5, mrr_at_10=0.25)))
    assert text.startswith("**Table 1: next item prediction, uci_online_retail (small), 1,829 questions**\n\n| model")
    assert cells(text) == {
        "model": ["hit@10 ↑", "MRR@10 ↑"],
        "POP": ["0.250 [0.230, 0.270]", "**0.500** [0.480, 0.520]"],
        "UBM": [r"**0.500**\* [0.480, 0.520]", "0.250 [0.230, 0.270]"],
    }


def test_of_an_error_the_lowest_is_best_and_of_r2_the_highest() -> None:
    text = markdown(
        report("rlp", row("FIXED", mae=8.7757, mse=202.26, r2=0.25), row("UBM", mae=8.6872, mse=203.0, r2=0.5))
    )
    table = cells(text)
    assert table["model"] == ["MAE ↓", "MSE ↓", "R² ↑"]
    assert [cell.split(" [")[0] for cell in table["FIXED"]] == ["8.776", "**202.3**", "0.250"]
    assert [cell.split(" [")[0] for cell in table["UBM"]] == [r"**8.687**\*", "203.0", r"**0.500**\*"]


def test_a_huge_error_takes_no_digits_from_the_others() -> None:
    text = markdown(report("rlp", row("diverged", r2=-250.0), row("UBM", r2=0.0266)))
    assert cells(text)["UBM"] == [r"**0.027**\* [0.007, 0.047]"]


@pytest.mark.parametrize(
    ("others", "starred"),
    [
        ([("a", 0.1, 0.01), ("b", 0.2, 0.049)], True),
        ([("a", 0.1, 0.01), ("b", 0.2, 0.05)], False),
        ([("a", 0.1, 0.01), ("b", 0.2, None)], False),
        ([("a", 0.1, 0.01), ("b", 0.4, 0.01)], False),  # as different, the other way round
        ([("a", 0.1, 0.01), ("b", 0.3, 0.01)], False),
        ([], False),
    ],
)
def test_the_star_needs_significance_against_every_other_row(
    others: list[tuple[str, float, float | None]], starred: bool
) -> None:
    text = markdown(report("pip", *(row(name, p=p, f1=value) for name, value, p in others), row("UBM", f1=0.3)))
    assert (r"\*" in cells(text)["UBM"][0]) == starred
    assert (r"- \* UBM is better than every other row, p < 0.05." in text.splitlines()) == starred


def test_equal_values_are_both_bold() -> None:
    table = cells(markdown(report("pip", row("RAND", f1=0.3), row("UBM", f1=0.3))))
    assert all(cell.startswith("**0.300**") for cell in (table["RAND"][0], table["UBM"][0]))


def test_each_note_is_printed_once_below_the_table() -> None:
    rows = [
        row("A", note="four layers", f1=0.1),
        row("B", note="no titles", f1=0.2),
        row("C", note="four layers", f1=0.2),
    ]
    text = markdown(report("pip", *rows, row("UBM", f1=0.3)))
    assert list(cells(text)) == ["model", "A ¹", "B ²", "C ¹", "UBM"]
    assert text.splitlines()[-2:] == ["- ¹ four layers", "- ² no titles"]


def test_a_missing_metric_is_a_dash_and_an_interval_may_be_missing() -> None:
    bare = row("A", f1=0.1)
    bare["metrics"]["f1"] = {"value": 0.1, "low": None, "high": None}
    table = cells(markdown(report("pip", bare, row("B", kappa=0.2))))
    assert table["A"] == ["**0.100**", "–"]
    assert table["B"][0] == "–"


def test_the_command_prints_each_file_s_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reports = [report("pip", row("UBM", f1=0.5)), report("nip", row("UBM", hit_at_10=0.5))]
    files = [tmp_path / f"{number}.json" for number in range(2)]
    for file, one in zip(files, reports, strict=True):
        file.write_text(json.dumps(one), "utf-8")
    table_view.main([str(file) for file in files])
    assert capsys.readouterr().out == f"{markdown(reports[0])}\n\n{markdown(reports[1])}\n"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"there is no file .*absent\.json"):
        table_view.main([str(tmp_path / "absent.json")])


def seed_report(seed: int, hits: dict[str, float], **settings: Any) -> dict[str, Any]:
    about = {"task": "nip", "data": "shop", "size": "small", "split": "time", "holdout": 0.2, "seed": seed, "table": 1}
    rows = [
        {"row": name, "seconds": 60.0, "metrics": {"hit@10": {"value": hit, "low": hit - 0.1, "high": hit + 0.1}}}
        for name, hit in hits.items()
    ]
    return {"settings": about | settings, "questions": 1000, "rows": rows}


def test_a_figure_is_the_mean_with_its_range_and_the_mean_interval() -> None:
    text = seeds_table([seed_report(0, {"UBM": 0.2, "POP": 0.1}), seed_report(7, {"UBM": 0.4, "POP": 0.1})])
    assert "1,000 questions, seeds 0, 7" in text
    ubm, pop = (line for line in text.splitlines() if line.startswith(("| UBM", "| POP")))
    assert "0.300 (0.200 to 0.400) [0.200, 0.400]" in ubm
    assert "0.100 (0.100 to 0.100) [0.000, 0.200]" in pop
    assert ubm.split("|")[-2].strip() == "1.0", "minutes"


def test_a_single_run_has_no_range() -> None:
    text = seeds_table([seed_report(3, {"UBM": 0.2})])
    assert "1,000 questions, seed 3**" in text
    assert "| 0.200 [0.100, 0.300] |" in text


def test_rows_that_a_report_lacks_are_left_out() -> None:
    text = seeds_table([seed_report(0, {"UBM": 0.2, "POP": 0.1}), seed_report(1, {"UBM": 0.4})])
    assert "| POP" not in text


@pytest.mark.parametrize("other", [{"data": "another"}, {"split": "session"}, {"task": "pip"}])
def test_runs_of_different_tables_are_an_error(tmp_path: Path, other: dict[str, Any]) -> None:
    files = [tmp_path / "0.json", tmp_path / "1.json"]
    for number, (file, settings) in enumerate(zip(files, ({}, other), strict=True)):
        file.write_text(json.dumps(seed_report(number, {"UBM": 0.2}, **settings)), "utf-8")
    with pytest.raises(SystemExit, match=next(iter(other))):
        table_view.main(["--seeds", *(str(file) for file in files)])


@pytest.mark.parametrize("file", sorted(RESULTS.glob("table_*.json")), ids=lambda file: file.stem)
def test_earlier_reports_can_be_printed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table_view.main([str(file)])
    assert "| UBM" in capsys.readouterr().out


def test_earlier_runs_over_seeds_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    table_view.main(["--seeds", *map(str, sorted(RESULTS.glob("recipe_uci_online_retail_session_seed_*.json")))])
    assert "seeds 0, 1, 2" in capsys.readouterr().out
