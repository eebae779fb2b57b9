"""Tables 1 and 2 of the paper as Markdown, from kept reports alone.

python -m benchmarks.quality.table_view benchmarks/results/table_*.json
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import markdown_table
from ubm_embed.data.tables.json_object import read_json_object
from ubm_embed.errors import NotFound, UbmError
from ubm_embed.evaluation.task_metrics import higher_is_better, metric_label

OURS = "UBM"
SIGNIFICANT = 0.05
TASKS = {"nip": "next item prediction", "pip": "purchase intention prediction", "rlp": "remaining length prediction"}
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_STAR = r"\*"  # a bare one would be read as emphasis
_NOTHING = "–"


def data_of(settings: Mapping[str, Any]) -> str:
    """The data a report is about, and how much of it, in words."""
    return f"{settings['data']} ({settings['size']})" if settings.get("size") else str(settings["data"])


def subject(report: Mapping[str, Any]) -> str:
    """Task, data, size and number of questions, in words."""
    settings = report["settings"]
    task = TASKS.get(settings["task"], settings["task"])
    return f"{task}, {data_of(settings)}, {report['questions']:,} questions"


def markdown(report: Mapping[str, Any]) -> str:
    """The table of a report: a row for each model, each metric with its interval, what to know below it.

    The best value of a column is bold. That of the row that the table is about has the paper's star where it is better
    than every other one with p < 0.05.
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
    """One metric of every row that has it."""

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
    """Of the row against the one that the table is about; 1 where it is not known."""
    value = (row.get("p_values") or {}).get(metric)
    return 1.0 if value is None else float(value)


def _decimals(best: float) -> int:
    """Three digits or four are read of a figure, whatever its unit. The best value decides: the worst may be huge."""
    return 3 if abs(best) < 10 else 2 if abs(best) < 100 else 1


def numbered_notes(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Each distinct note of the rows, in order of occurrence -> its raised number."""
    distinct = dict.fromkeys(row["note"] for row in rows if row.get("note"))
    return {note: str(number).translate(_RAISED) for number, note in enumerate(distinct, start=1)}


def row_label(row: Mapping[str, Any], notes: Mapping[str, str]) -> str:
    """A row's name, with its note's number where it has one."""
    return f"{row['row']} {notes[row['note']]}" if row.get("note") else str(row["row"])


def _legend(columns: Sequence[_Column], notes: Mapping[str, str], ours: str) -> Iterator[str]:
    yield "In brackets the bootstrap interval; the best of each column is bold."
    if any(column.starred for column in columns):
        yield f"{_STAR} {ours} is better than every other row, p < {SIGNIFICANT}."
    yield from (f"{number} {note}" for note, number in notes.items())


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise NotFound(f"there is no file {file}")
    return read_json_object(file)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of each report."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality.table_view", description="Reports' tables as Markdown."
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a report, results/table_*.json")
    options = parser.parse_args(arguments)
    try:
        print("\n\n".join(markdown(_read(file)) for file in options.files))
    except UbmError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
