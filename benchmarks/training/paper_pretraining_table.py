"""The table of `paper_pretraining`, made of its report. Figures are medians over the steps after warm-up."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

from benchmarks.report import markdown_table

UNITS = {1: "pairs", 2: "sessions"}
COLUMNS = (
    "stage, batch",
    "s a step",
    "examples/s",
    "tokens/s",
    "of it reading",
    "of the ceiling",
    "peak GB",
    "an epoch of the paper's, minutes",
)


def table(report: dict[str, Any]) -> str:
    """One row a stage and batch."""
    return markdown_table(COLUMNS, [_row(row, report) for row in report["rows"]])


def _row(row: dict[str, Any], report: dict[str, Any]) -> tuple[str, ...]:
    what = f"{row['stage']}, {row['batch']:,} {UNITS[row['stage']]}{', compiled' if row['compiled'] else ''}"
    if "failed" in row:
        return (what, "failed", *[""] * (len(COLUMNS) - 2))
    steps = _steady(row, report)
    return (
        what,
        f"{median(step['seconds'] for step in steps):.3f}",
        f"{median(step['examples'] / step['seconds'] for step in steps):,.0f}",
        f"{median(step['tokens'] / step['seconds'] for step in steps):,.0f}",
        f"{median(step['reading_seconds'] / step['seconds'] for step in steps):.0%}",
        f"{median(step['flops'] / step['seconds'] for step in steps) / report['ceiling']['flops']:.1%}",
        "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e9:.1f}",
        f"{row['epoch_seconds'] / 60:.1f}{' (extrapolated)' if row['extrapolated'] else ''}",
    )


def _steady(row: dict[str, Any], report: dict[str, Any]) -> list[dict[str, Any]]:
    """Steps after the warm-up."""
    steps: list[dict[str, Any]] = row["steps"][report["settings"]["warm_up"] :]
    return steps or row["steps"]


def notes(report: dict[str, Any]) -> str:
    """What a reader of the table should know besides, a line each."""
    return "\n".join(_notes(report))


def _notes(report: dict[str, Any]) -> Iterator[str]:
    yield (
        f"- The ceiling is {report['ceiling']['flops'] / 1e12:,.1f} TFLOP/s, of a large matrix product in "
        f"{report['precision']} in the same run. Its share counts real tokens alone."
    )
    yield from (
        f"- Failed: stage {row['stage']}, {row['batch']:,}{', compiled' if row['compiled'] else ''}: {row['failed']}"
        for row in report["rows"]
        if "failed" in row
    )
    yield from (
        f"- Compiled: the first step of stage {row['stage']}, {row['batch']:,} took {row['steps'][0]['seconds']:.0f} s."
        for row in report["rows"]
        if row["compiled"] and "failed" not in row
    )
    sessions = f"{report['sessions']:,} of the sample shop's were at hand"
    yield f"- An epoch of the paper's is {report['paper_sessions']:,} sessions; {sessions}."
    yield from _whole("at the paper's batches", [row for row in report["rows"] if row["batch"] in (512, 128)])
    yield from _whole("at the fastest batches", report["rows"])


def _whole(what: str, rows: list[dict[str, Any]]) -> Iterator[str]:
    """Both stages, each by the fastest of these rows."""
    done = [row for row in rows if "failed" not in row]
    best = [
        min((row for row in done if row["stage"] == stage), key=lambda row: float(row["epoch_seconds"]), default=None)
        for stage in (1, 2)
    ]
    if best[0] is not None and best[1] is not None:
        seconds = [float(row["epoch_seconds"]) for row in best if row is not None]
        said = "extrapolated" if any(row["extrapolated"] for row in best if row is not None) else "timed"
        yield (
            f"- Both stages {what}, {said}: {sum(seconds) / 60:.1f} minutes "
            f"({seconds[0] / 60:.1f} and {seconds[1] / 60:.1f})."
        )
