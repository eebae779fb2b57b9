"""Rows of a table over several seeds: python -m benchmarks.quality.seeds benchmarks/results/recipe_DATA_seed_*.json

Each report is a run of `tables` with another --seed. A figure is the mean over them, with the minimum and maximum in
parentheses and the mean ends of the bootstrap intervals over questions in brackets.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.quality.table_view import subject
from benchmarks.report import markdown_table
from ubm_embed.data.tables.json_object import read_json_object
from ubm_embed.errors import Conflict, UbmError
from ubm_embed.evaluation.task_metrics import metric_label

_SHOWN = {"nip": ("hit@10", "mrr@10"), "pip": ("auroc", "f1"), "rlp": ("mae",)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="reports of one table, a seed each")
    try:
        print(table([read_json_object(file) for file in parser.parse_args(arguments).files]))
    except UbmError as error:
        raise SystemExit(f"error: {error}") from None


def table(reports: Sequence[Mapping[str, Any]]) -> str:
    """The mean of each figure of the rows that all reports have.

    Raises:
        Conflict: the reports are about different tasks, data or splits.
    """
    _require_alike(reports)
    rows = [{row["row"]: row for row in report["rows"]} for report in reports]
    names = [name for name in rows[0] if all(name in one for one in rows)]
    shown = [name for name in _SHOWN[reports[0]["settings"]["task"]] if name in rows[0][names[0]]["metrics"]]
    lines = []
    for name in names:
        metrics = [one[name]["metrics"] for one in rows]
        minutes = mean(one[name]["seconds"] for one in rows) / 60
        lines.append((name, *(_cell([one[metric] for one in metrics]) for metric in shown), f"{minutes:.1f}"))
    seeds = ("seed " if len(reports) == 1 else "seeds ") + ", ".join(str(one["settings"]["seed"]) for one in reports)
    heading = ("model", *(metric_label(name) for name in shown), "minutes")
    return f"**{subject(reports[0])}, {seeds}**\n\n{markdown_table(heading, lines)}"


def _cell(measured: Sequence[Mapping[str, float]]) -> str:
    values = [one["value"] for one in measured]
    low, high = mean(one["low"] for one in measured), mean(one["high"] for one in measured)
    spread = "" if len(values) == 1 else f"({min(values):.3f} to {max(values):.3f}) "
    return f"{mean(values):.3f} {spread}[{low:.3f}, {high:.3f}]"


def _require_alike(reports: Sequence[Mapping[str, Any]]) -> None:
    for name in ("task", "data", "split", "holdout", "size"):
        found = {str(report["settings"].get(name)) for report in reports}
        if len(found) > 1:
            raise Conflict(f"expected reports of one table, got {name} {' and '.join(sorted(found))}")


if __name__ == "__main__":
    main()
