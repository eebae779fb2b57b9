"""The paper's figures 4, 5 and 6, drawn from saved reports alone: a PNG each, with a JSON file of its numbers.

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
from ubm_embed.data.tables.json_files import read_json_object
from ubm_embed.errors import Conflict, InvalidData, NotFound, UbmError

FIGURES = RESULTS.parent / "figures"

_TABLE = re.compile(r"table_(\d+)_[a-z]+_(.+)")
# The file name of a report, and the report.
NamedReport = tuple[str, Mapping[str, Any]]
Input = TypeVar("Input")
Result = TypeVar("Result")


def make(results: Path, out: Path) -> list[Path]:
    """Draw all figures that the reports in `results` allow; returns the pictures, and prints what it skips to stderr.

    Raises:
        Conflict: both are the same folder, where a report and the numbers of its figure may have the same name.
        NotFound: no figure could be made.
    """
    if results.resolve() == out.resolve():
        raise Conflict(f"expected another folder than {results} for the figures")
    tables = list(_reports(results, "table_*.json"))
    sessions = list(_reports(results, "figure_4_*.json"))
    pictures = [*_sessions(sessions, out), *_sparse_items(tables, out), *_uniformity(tables, out)]
    if not pictures:
        raise NotFound(f"no figure could be made: expected reports table_*.json or figure_4_*.json in {results}")
    return pictures


def _reports(results: Path, pattern: str) -> Iterator[NamedReport]:
    for file in sorted(results.glob(pattern)):
        report = _or_skip(file.name, read_json_object, file)
        if report is not None:
            yield file.name, report


def _or_skip(name: str, work: Callable[[Input], Result], argument: Input) -> Result | None:
    """The result of `work`; None, with the reason on stderr, where the report lacks something."""
    try:
        return work(argument)
    except InvalidData as error:
        reason = str(error)
    except KeyError as error:
        reason = f"it has no {error}"
    print(f"skipped {name}: {reason}", file=sys.stderr)
    return None


def _sessions(reports: Sequence[NamedReport], out: Path) -> Iterator[Path]:
    for name, report in reports:
        numbers = _or_skip(f"figure 4 of {name}", sessions_figure.numbers, report)
        if numbers is not None:
            yield _write(out / Path(name).stem, 4, [name], numbers, sessions_figure.draw)


def _sparse_items(tables: Sequence[NamedReport], out: Path) -> Iterator[Path]:
    for name, report in tables:
        if task_of(report) != "nip":  # the only task with products as targets
            continue
        numbers = _or_skip(f"figure 5 of {name}", sparse_items_figure.numbers, report)
        if numbers is not None:
            yield _write(out / f"figure_5_{data_name(name)}", 5, [name], numbers, sparse_items_figure.draw)


def _uniformity(tables: Sequence[NamedReport], out: Path) -> Iterator[Path]:
    """A figure for each data set, with a panel for each report that has both measures."""
    sets: dict[str, list[NamedReport]] = {}
    for name, report in tables:
        if _or_skip(f"figure 6 of {name}", uniformity_figure.panel, report) is not None:
            sets.setdefault(data_name(name), []).append((name, report))
    order = {task: number for number, task in enumerate(TASKS)}
    for data, named in sets.items():
        named.sort(key=lambda one: order.get(task_of(one[1]), len(order)))
        numbers = uniformity_figure.numbers([report for _, report in named])
        yield _write(out / f"figure_6_{data}", 6, [name for name, _ in named], numbers, uniformity_figure.draw)


def task_of(report: Mapping[str, Any]) -> str:
    """The task of a table; empty if the report has none."""
    return str(report.get("settings", {}).get("task", ""))


def data_name(file: str) -> str:
    """The part of a report's file name that all tasks of one data set share."""
    stem = Path(file).stem
    match = _TABLE.fullmatch(stem)
    if match is None:
        return stem
    return match[2] if match[1] == "1" else f"{match[2]}_table_{match[1]}"


def _write(
    stem: Path,
    number: int,
    sources: Sequence[str],
    numbers: Mapping[str, Any],
    draw: Callable[[Mapping[str, Any]], Figure],
) -> Path:
    """Write the picture and its numbers; returns the picture."""
    picture, beside = (stem.with_name(f"{stem.name}{suffix}") for suffix in (".png", ".json"))
    with style():
        save(draw(numbers), picture)
    write_report({"figure": number, "sources": list(sources), **numbers}, beside)
    print(f"wrote {picture} and {beside.name}")
    return picture


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.figures_of_the_paper.figures", description="Figures 4, 5 and 6."
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the reports")
    parser.add_argument("--out", type=Path, default=FIGURES, help="folder for the pictures and their numbers")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the figures, or exit with the reason why there are none."""
    options = _options(arguments)
    try:
        make(options.results, options.out)
    except UbmError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
