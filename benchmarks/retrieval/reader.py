"""What does a reader of a store cost: a command, opening, queries, rules, many at once, and a new version?

python -m benchmarks.retrieval.reader HOME [--before CHECKOUT]

HOME is a folder of `trained_shop`. With `--before`, each figure is measured in turns with the code of CHECKOUT, another
state of this project, which then must be able to read HOME's store. Both run with the packages that are installed here,
in processes of their own and, but for the whole command, with one thread. Today's code reads a copy of the store with
two versions that it published itself. A row that is not named keeps the figures that the report has of it.

"First" is a query under rules that the reader has not met, "first of all" also makes what all rules of the kind need.
Otherwise queries are warm: the reader has read each interaction before, but not the session.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.command_line import add_quick_option, load_or_measure, parse_with_quick, runner_parser
from benchmarks.report import RESULTS, machine, report_header, write_report
from benchmarks.retrieval.reader_process import Readers
from benchmarks.retrieval.reader_rows import ROWS, Measurement
from benchmarks.retrieval.reader_stores import prepare
from benchmarks.retrieval.reader_table import table
from benchmarks.retrieval.shop_home import TrainedShop

NAME = "reader"
QUICK = {"sessions": 100, "commands": 2}
_PACKAGES = ("faiss-cpu", "onnxruntime", "pyarrow", "pylance")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report; it is written after each row."""
    settings = {name: getattr(options, name) for name in ("sessions", "commands", "limit_s")}
    report = {**report_header(NAME, settings, packages=_PACKAGES), "rows": _saved_rows(options)}
    shop = TrainedShop(options.home)
    inputs = prepare(shop, options.scratch or options.home / NAME, options.before, options.sessions)
    readers = Readers(inputs.sides, inputs.sessions, options.sessions)
    run = Measurement(inputs, readers, options.sessions, options.commands, options.limit_s)
    try:
        for name in options.rows:
            print(f"row {name}", file=sys.stderr, flush=True)
            noted = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "load_average": machine()["load_average"]}
            report["rows"][name] = {**noted, "figures": ROWS[name](run)}
            write_report(report, options.out)
    finally:
        readers.close()
    return report


def _saved_rows(options: argparse.Namespace) -> dict[str, Any]:
    """The rows of an earlier report that are not measured again."""
    file = options.out or RESULTS / f"{NAME}.json"
    if not file.is_file() or set(options.rows) >= set(ROWS):
        return {}
    saved: dict[str, Any] = json.loads(file.read_text("utf-8"))["rows"]
    return saved


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = runner_parser(f"retrieval.{NAME}", __doc__)
    add_quick_option(parser, QUICK)
    add = parser.add_argument
    add("home", type=Path, metavar="HOME", nargs="?", help="a folder of benchmarks.retrieval.trained_shop")
    add("--before", type=Path, metavar="CHECKOUT", help="another state of this project, to compare with")
    add("--scratch", type=Path, metavar="DIR", help="where stores are made, once; default: HOME/reader")
    add("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), metavar="ROW", help=f"of {', '.join(ROWS)}")
    add("--sessions", type=int, default=1000, help="sessions asked for each latency")
    add("--commands", type=int, default=7, help="runs of the whole command")
    add("--limit-s", type=float, default=10, help="seconds for queries under rules of one kind; stopped at three times")
    return parse_with_quick(parser, QUICK, arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its tables; or print the tables of a saved one."""
    print(table(load_or_measure(parse(arguments), measure)))


if __name__ == "__main__":
    main()
