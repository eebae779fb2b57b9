"""What does `ubm-embed diagnose` cost: seconds, CPU time and memory of the whole command, and which section takes it?

python -m benchmarks.diagnostics.diagnose HOME

HOME is a folder of `trained_shop`. Commands run in turns, each in a process of its own; sections are timed where they
are called, in this process, after a warm-up with smaller samples. OMP_NUM_THREADS sets the threads.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from benchmarks.command_line import add_quick_option, load_or_measure, parse_with_quick, runner_parser
from benchmarks.report import markdown_table, report_header
from benchmarks.retrieval.reader_process import command_cost
from benchmarks.retrieval.shop_home import TrainedShop
from indexer.diagnostics import diagnosis
from indexer.diagnostics.diagnosis import Sources, diagnose_version
from indexer.diagnostics.maps.projection import MapMethod
from indexer.diagnostics.settings import DiagnosisSettings
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.version import read_version
from ubm_embed.data.corpus import Corpus

NAME = "diagnose"
QUICK = {"rounds": 1}
_SECTION = "_section"
_SMALL = DiagnosisSettings(sample=50, queries=10, texts=10, sessions=10, rounds=20)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report: the costs of each command, and the CPU time of each section."""
    shop = TrainedShop(options.home)
    store = options.store or shop.store
    settings = {"rounds": options.rounds, "threads": os.environ.get("OMP_NUM_THREADS", "all")}
    report = report_header(NAME, settings, packages=("faiss-cpu", "onnxruntime", "pylance", "scikit-learn"))
    opened = EmbeddingStore.open(store)
    version = read_version(opened)
    report["products"], report["index"] = version.products, version.kind
    with tempfile.TemporaryDirectory() as folder:
        commands = _commands(store, shop.corpus, version.base, Path(folder) / "report.html")
        report["commands"] = _in_turns(commands, options.rounds)
    sources = Sources(corpus=Corpus.open(shop.corpus), map_method=MapMethod.PCA)
    for samples in (_SMALL, DiagnosisSettings()):
        with timed_sections() as times:
            diagnose_version(opened, against=version.base, sources=replace(sources, settings=samples))
    report["sections"] = {name: round(seconds, 3) for name, seconds in times.items()}
    return report


def _commands(store: Path, corpus: Path, before: int | None, page: Path) -> dict[str, list[str]]:
    """Each command with its name; every one does what those before it do, and more."""
    command = ["-m", "cli", "diagnose", "--format", "json", "--store", str(store)]
    commands = {"the version alone": command}
    commands["… and sessions"] = command = [*command, "--corpus", str(corpus)]
    if before is not None:
        commands["… and the version before"] = command = [*command, "--against", str(before)]
    commands["… and a page with pictures"] = [*command, "--html", str(page)]
    return commands


def _in_turns(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, list[dict[str, float]]]:
    costs: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            costs[name].append(command_cost(command, os.environ))
    return costs


@contextmanager
def timed_sections() -> Iterator[dict[str, float]]:
    """CPU seconds of each section, of all threads, that is made inside the block."""
    times: dict[str, float] = {}
    sections = {name: call for name, call in vars(diagnosis).items() if name.endswith(_SECTION)}
    with ExitStack() as stack:
        for name, call in sections.items():
            stack.enter_context(patch.object(diagnosis, name, _timed(call, name.removesuffix(_SECTION), times)))
        yield times


def _timed(call: Callable[..., Any], name: str, times: dict[str, float]) -> Callable[..., Any]:
    def timed(*arguments: Any, **options: Any) -> Any:
        started = time.process_time()
        try:
            return call(*arguments, **options)
        finally:
            times[name] = time.process_time() - started

    return timed


def table(report: dict[str, Any]) -> str:
    """The tables of a report: medians of the commands, and the sections."""
    rows = [
        (name, *(f"{median(cost[key] for cost in costs):,.1f}" for key in ("seconds", "cpu_seconds")), _peak(costs))
        for name, costs in report["commands"].items()
    ]
    commands = markdown_table((f"{report['products']:,} products", "seconds", "CPU seconds", "peak MB"), rows)
    longest = sorted(report["sections"].items(), key=lambda section: -section[1])
    sections = markdown_table(("section", "CPU seconds"), [(name, f"{seconds:.1f}") for name, seconds in longest])
    return f"{commands}\n\n{sections}"


def _peak(costs: Sequence[Mapping[str, float]]) -> str:
    return f"{max(cost['peak_mb'] for cost in costs):,.0f}"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = runner_parser(f"diagnostics.{NAME}", __doc__)
    add_quick_option(parser, QUICK)
    add = parser.add_argument
    add("home", type=Path, metavar="HOME", nargs="?", help="a folder of benchmarks.retrieval.trained_shop")
    add("--store", type=Path, metavar="DIR", help="another store of the same products, such as one of two versions")
    add("--rounds", type=int, default=3, help="times that each command runs")
    return parse_with_quick(parser, QUICK, arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its tables; or print those of a saved one."""
    print(table(load_or_measure(parse(arguments), measure)))


if __name__ == "__main__":
    main()
