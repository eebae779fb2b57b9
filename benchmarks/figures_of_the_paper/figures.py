"""The paper's figures 4, 5 and 6, drawn from kept reports alone: a PNG each, and beside it the numbers that it shows.

python -m benchmarks.figures_of_the_paper.figures
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from matplotlib.figure import Figure

from benchmarks.figures_of_the_paper import sessions_figure, sparse_items_figure, uniformity_figure
from benchmarks.figures_of_the_paper.canvas import save, style
from benchmarks.quality.table_view import TASKS
from benchmarks.report import RESULTS, write_report
from ubm_embed.data.tables.json_object import read_json_object
from ubm_embed.errors import Conflict, InvalidData, NotFound, UbmError

FIGURES = RESULTS.parent / "figures"

_TABLE = re.compile(r"table_(\d+)_[a-z]+_(.+)")
# The name of a report's file, and the report.
Kept = tuple[str, Mapping[str, Any]]
Given = TypeVar("Given")
Result = TypeVar("Result")


def make(results: Path, out: Path) -> list[Path]:
    """Draw what the reports in `results` allow; says on stderr what it skips and why, and returns the pictures.

    Raises:
        Conflict: both are one folder; a report and the numbers of its figure may have the same name.
        NotFound: not one figure could be made.
    """
    if results.resolve() == out.resolve():
        raise Conflict(f"expected another folder than {results} for the figures")
    tables = list(_reports(results, "table_*.json"))
    sessions = list(_reports(results, "figure_4_*.json"))
    made = [*_sessions(sessions, out), *_sparse_items(tables, out), *_uniformity(tables, out)]
    if not made:
        raise NotFound(f"no figure could be made: expected reports table_*.json or figure_4_*.json in {results}")
    return made


def _reports(results: Path, pattern: str) -> Iterator[Kept]:
    for file in sorted(results.glob(pattern)):
        report = _unless_lacking(file.name, read_json_object, file)
        if report is not None:
            yield file.name, report


def _unless_lacking(what: str, work: Callable[[Given], Result], given: Given) -> Result | None:
    """What `work` makes of what it is given; None, and a line that says why, where that lacks something."""
    try:
        return work(given)
    except InvalidData as error:
        reason = str(error)
    except KeyError as error:
        reason = f"it has no {error}"
    print(f"skipped {what}: {reason}", file=sys.stderr)
    return None


def _sessions(reports: Sequence[Kept], out: Path) -> Iterator[Path]:
    for name, report in reports:
        shown = _unless_lacking(f"figure 4 of {name}", sessions_figure.numbers, report)
        if shown is not None:
            yield _write(out / Path(name).stem, 4, [name], shown, sessions_figure.draw)


def _sparse_items(tables: Sequence[Kept], out: Path) -> Iterator[Path]:
    for name, report in tables:
        if task_of(report) != "nip":  # the only task with targets to count
            continue
        shown = _unless_lacking(f"figure 5 of {name}", sparse_items_figure.numbers, report)
        if shown is not None:
            yield _write(out / f"figure_5_{data_name(name)}", 5, [name], shown, sparse_items_figure.draw)


def _uniformity(tables: Sequence[Kept], out: Path) -> Iterator[Path]:
    """One for each data set; a report without the two measures is no panel of it."""
    sets: dict[str, list[Kept]] = {}
    for name, report in tables:
        if _unless_lacking(f"figure 6 of {name}", uniformity_figure.panel, report) is not None:
            sets.setdefault(data_name(name), []).append((name, report))
    order = {task: place for place, task in enumerate(TASKS)}
    for data, kept in sets.items():
        kept.sort(key=lambda one: order.get(task_of(one[1]), len(order)))
        shown = uniformity_figure.numbers([report for _, report in kept])
        yield _write(out / f"figure_6_{data}", 6, [name for name, _ in kept], shown, uniformity_figure.draw)


def task_of(report: Mapping[str, Any]) -> str:
    """The task of a table; empty where the report does not say."""
    return str(report.get("settings", {}).get("task", ""))


def data_name(file: str) -> str:
    """What the name of a table's report says besides the task, which is the same for all of one data set."""
    stem = Path(file).stem
    match = _TABLE.fullmatch(stem)
    if match is None:
        return stem
    return match[2] if match[1] == "1" else f"{match[2]}_table_{match[1]}"


def _write(
    stem: Path,
    number: int,
    sources: Sequence[str],
    shown: Mapping[str, Any],
    draw: Callable[[Mapping[str, Any]], Figure],
) -> Path:
    """The picture and its numbers; returns the picture."""
    picture, beside = (stem.with_name(f"{stem.name}{suffix}") for suffix in (".png", ".json"))
    with style():
        save(draw(shown), picture)
    write_report({"figure": number, "sources": list(sources), **shown}, beside)
    print(f"wrote {picture} and {beside.name}")
    return picture


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.figures_of_the_paper.figures", description="Figures 4, 5 and 6."
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of kept reports")
    parser.add_argument("--out", type=Path, default=FIGURES, help="folder for pictures and their numbers")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the figures, or say why there are none."""
    options = _options(arguments)
    try:
        make(options.results, options.out)
    except UbmError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
