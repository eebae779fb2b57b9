"""The tables of saved reports as Markdown: the paper's form, or with --seeds a mean over runs of one table.

python -m benchmarks.quality.table_view benchmarks/results/table_*.json
python -m benchmarks.quality.table_view --seeds benchmarks/results/recipe_DATA_session_seed_*.json
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.report import markdown_table
from ubm_embed.data.tables.json_files import read_json_object
from ubm_embed.errors import Conflict, NotFound, UbmError
from ubm_embed.evaluation.task_metrics import higher_is_better, metric_label

OURS = "UBM"
SIGNIFICANT = 0.05
TASKS = {"nip": "next item prediction", "pip": "purchase intention prediction", "rlp": "remaining length prediction"}
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_STAR = r"\*"  # a bare one would be read as emphasis
_NOTHING = "–"
_MAIN_METRICS = {"nip": ("hit@10", "mrr@10"), "pip": ("auroc", "f1"), "rlp": ("mae",)}


def data_of(settings: Mapping[str, Any]) -> str:
    """The data set of a report, with the size of its models, in words."""
    return f"{settings['data']} ({settings['size']})" if settings.get("size") else str(settings["data"])


def subject(report: Mapping[str, Any]) -> str:
    """Task, data, size and number of questions, in words."""
    settings = report["settings"]
    task = TASKS.get(settings["task"], settings["task"])
    return f"{task}, {data_of(settings)}, {report['questions']:,} questions"


def markdown(report: Mapping[str, Any]) -> str:
    """The table of a report: a row for each model, each metric with its interval, and notes below.

    The best value of a column is bold. The subject's value has the paper's star where it is better than all others with
    p < 0.05.
    """
    rows = report["rows"]
    names = list(dict.fromkeys(name for row in rows for name in row["metrics"]))
    notes = numbered_notes(rows)
    ours = report.get("subject") or OURS
    columns = [_Column(name, rows, ours) for name in names]
    lines = [(row_label(row, notes), *(column.cell(row) for column in columns)) for row in rows]
    table = markdown_table(("model", *(column.heading for column in columns)), lines)
    title = f"**Table {report['settings']['table']}: {subject(report)}**"
    legend = "\n".join(f"- {line}" for line in _legend(columns, notes, ours))
    return f"{title}\n\n{table}\n\n{legend}"


class _Column:
    """One metric, over the rows that have it."""

    def __init__(self, name: str, rows: Sequence[Mapping[str, Any]], ours: str) -> None:
        self.name, self.ours = name, ours
        self.rows = [row for row in rows if name in row["metrics"]]
        values = [self._value(row) for row in self.rows]
        self.best = max(values) if higher_is_better(name) else min(values)
        self.decimals = _decimals(self.best)
        self.starred = self._is_starred()

    @property
    def heading(self) -> str:
        return f"{metric_label(self.name)} {'↑' if higher_is_better(self.name) else '↓'}"

    def cell(self, row: Mapping[str, Any]) -> str:
        """Value and interval."""
        if self.name not in row["metrics"]:
            return _NOTHING
        text = self._format(self._value(row))
        if self._value(row) == self.best:
            text = f"**{text}**"
        if self.starred and row["row"] == self.ours:
            text += _STAR
        return f"{text}{self._interval(row['metrics'][self.name])}"

    def _value(self, row: Mapping[str, Any]) -> float:
        return float(row["metrics"][self.name]["value"])

    def _format(self, value: float) -> str:
        return f"{value:.{self.decimals}f}"

    def _interval(self, measured: Mapping[str, Any]) -> str:
        ends = [measured.get(end) for end in ("low", "high")]
        return f" [{', '.join(self._format(end) for end in ends if end is not None)}]" if None not in ends else ""

    def _is_starred(self) -> bool:
        ours = [row for row in self.rows if row["row"] == self.ours]
        others = [row for row in self.rows if row["row"] != self.ours]
        if len(ours) != 1 or not others or self._value(ours[0]) != self.best:
            return False
        return all(_p_value(row, self.name) < SIGNIFICANT and self._value(row) != self.best for row in others)


def _p_value(row: Mapping[str, Any], metric: str) -> float:
    """The p-value of a row against the subject; 1 where it is unknown."""
    value = (row.get("p_values") or {}).get(metric)
    return 1.0 if value is None else float(value)


def _decimals(best: float) -> int:
    """Decimals for three or four significant digits of the best value; the worst may be huge."""
    return 3 if abs(best) < 10 else 2 if abs(best) < 100 else 1


def numbered_notes(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Each distinct note of the rows, in order of occurrence -> its superscript number."""
    distinct = dict.fromkeys(row["note"] for row in rows if row.get("note"))
    return {note: str(number).translate(_SUPERSCRIPT) for number, note in enumerate(distinct, start=1)}


def row_label(row: Mapping[str, Any], notes: Mapping[str, str]) -> str:
    """A row's name, with the number of its note if it has one."""
    return f"{row['row']} {notes[row['note']]}" if row.get("note") else str(row["row"])


def _legend(columns: Sequence[_Column], notes: Mapping[str, str], ours: str) -> Iterator[str]:
    yield "In brackets the bootstrap interval; the best of each column is bold."
    if any(column.starred for column in columns):
        yield f"{_STAR} {ours} is better than every other row, p < {SIGNIFICANT}."
    yield from (f"{number} {note}" for note, number in notes.items())


def seeds_table(reports: Sequence[Mapping[str, Any]]) -> str:
    """One table of several runs: the mean of each figure, over the rows that all reports have.

    A figure is the mean over the seeds, with the minimum and maximum in parentheses and the mean ends of the bootstrap
    intervals over questions in brackets.

    Raises:
        Conflict: the reports have different tasks, data or splits.
    """
    _require_one_table(reports)
    rows = [{row["row"]: row for row in report["rows"]} for report in reports]
    names = [name for name in rows[0] if all(name in one for one in rows)]
    metrics = [name for name in _MAIN_METRICS[reports[0]["settings"]["task"]] if name in rows[0][names[0]]["metrics"]]
    lines = []
    for name in names:
        values = [one[name]["metrics"] for one in rows]
        minutes = mean(one[name]["seconds"] for one in rows) / 60
        lines.append((name, *(_cell([one[metric] for one in values]) for metric in metrics), f"{minutes:.1f}"))
    seeds = ("seed " if len(reports) == 1 else "seeds ") + ", ".join(str(one["settings"]["seed"]) for one in reports)
    heading = ("model", *(metric_label(name) for name in metrics), "minutes")
    return f"**{subject(reports[0])}, {seeds}**\n\n{markdown_table(heading, lines)}"


def _cell(measured: Sequence[Mapping[str, float]]) -> str:
    values = [one["value"] for one in measured]
    low, high = mean(one["low"] for one in measured), mean(one["high"] for one in measured)
    limits = "" if len(values) == 1 else f"({min(values):.3f} to {max(values):.3f}) "
    return f"{mean(values):.3f} {limits}[{low:.3f}, {high:.3f}]"


def _require_one_table(reports: Sequence[Mapping[str, Any]]) -> None:
    for name in ("task", "data", "split", "holdout", "size"):
        values = {str(report["settings"].get(name)) for report in reports}
        if len(values) > 1:
            raise Conflict(f"expected reports of one table, got {name} {' and '.join(sorted(values))}")


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise NotFound(f"there is no file {file}")
    return read_json_object(file)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of each report, or one table of all of them."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality.table_view",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="reports of benchmarks.quality.tables")
    parser.add_argument("--seeds", action="store_true", help="the files are one table with a seed each: print means")
    options = parser.parse_args(arguments)
    try:
        reports = [_read(file) for file in options.files]
        print(seeds_table(reports) if options.seeds else "\n\n".join(map(markdown, reports)))
    except UbmError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
