"""What every runner's command line has in common: options, and a table that comes from the saved report alone."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import write_report
from ubm_embed.errors import UbmError

Report = dict[str, Any]


def runner_parser(
    module: str, description: str | None, *, default_out: str | None = None, show: bool = True
) -> argparse.ArgumentParser:
    """A parser with `--out` and `--show`.

    Args:
        module: of the runner, below `benchmarks`, such as "training.step_cost".
        description: the runner's docstring, printed as it is written.
        default_out: name of the report in `results/` without `--out`; None for the module's own name.
        show: whether the runner makes a table of a saved report.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    file = f"{default_out or module.rsplit('.', 1)[-1]}.json"
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"report to write; default: benchmarks/results/{file}")
    if show:
        parser.add_argument("--show", type=Path, metavar="FILE", help="print the table of a saved report, run nothing")
    return parser


def add_corpus_options(parser: argparse.ArgumentParser, *, products: int, sessions: int | None = None) -> None:
    """Options for a corpus or, without `--corpus`, a sample shop of this size."""
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="a corpus folder; default: a sample shop")
    parser.add_argument("--products", type=int, default=products, help="products of the sample shop")
    if sessions is not None:
        parser.add_argument("--sessions", type=int, default=sessions, help="sessions of the sample shop")


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Options for the size of an untrained model; the defaults are the paper's."""
    parser.add_argument("--layers", type=int, default=4, help="layers of each encoder")
    parser.add_argument("--width", type=int, default=256, help="width of both encoders")


def add_quick_option(parser: argparse.ArgumentParser, quick: Mapping[str, Any]) -> None:
    """`--quick`: other defaults, with which a run takes about a minute on two cores."""
    values = ", ".join(f"{name.replace('_', '-')} {_words(value)}" for name, value in quick.items())
    parser.add_argument("--quick", action="store_true", help=f"about a minute on two cores; sets {values}")


def _words(value: Any) -> str:
    return (" ".join(map(str, value)) or "none") if isinstance(value, list | tuple) else str(value)


def parse_with_quick(
    parser: argparse.ArgumentParser, quick: Mapping[str, Any], arguments: Sequence[str] | None
) -> argparse.Namespace:
    """The options; with `--quick`, those of `quick` where the command line says nothing else."""
    if parser.parse_args(arguments).quick:
        parser.set_defaults(**quick)
    return parser.parse_args(arguments)


def settings_of(options: argparse.Namespace, *, without: Sequence[str] = ()) -> Report:
    """The options as a report's settings: no paths, since reports are published."""
    left_out = {"out", "show", "home", *without}
    settings = {name: value for name, value in vars(options).items() if name not in left_out}
    if "corpus" in settings:
        settings["corpus"] = settings["corpus"].name if settings["corpus"] else "sample shop"
    return settings


def load_or_measure(
    options: argparse.Namespace,
    measure: Callable[[argparse.Namespace], Report],
    old_keys: Mapping[str, str] | None = None,
) -> Report:
    """The report that `--show` names, else a new one, which is written where `--out` says.

    Args:
        old_keys: keys that earlier reports have -> the keys of today.

    Raises:
        SystemExit: the measurement failed for a reason that the caller can mend; the message says which.
    """
    if options.show:
        report: Report = with_new_keys(json.loads(options.show.read_text("utf-8")), old_keys or {})
        return report
    try:
        report = measure(options)
        print(f"written: {write_report(report, options.out)}", file=sys.stderr)
    except UbmError as error:
        raise SystemExit(f"error: {error}") from None
    return report


def show_or_measure(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    measure: Callable[[argparse.Namespace], Report],
    table: Callable[[Report], str],
) -> None:
    """Measure what `--data` names, save the report and print its table; or print the table that `--show` names.

    Raises:
        SystemExit: as `load_or_measure`; or the options are wrong, or neither is given.
    """
    options = parser.parse_args(arguments)
    if options.data is None and options.show is None:
        parser.error("one of --data and --show is required")
    print(table(load_or_measure(options, measure)))


def with_new_keys(document: Any, old_keys: Mapping[str, str]) -> Any:
    """The same JSON document with today's keys, at every depth."""
    if isinstance(document, dict):
        return {old_keys.get(key, key): with_new_keys(value, old_keys) for key, value in document.items()}
    if isinstance(document, list):
        return [with_new_keys(value, old_keys) for value in document]
    return document
