"""What does a nightly refresh cost compared with a rebuild, and how does memory grow with the catalogue?

python -m benchmarks.refresh.refresh_cost --products 200000 1000000

For each size, one after the other and each in its own process: a store is built, a share of its products gets a new
title and as many a new price, the store is refreshed, and the changed catalogue is built into another store. Each
process reports the time of its steps and its peak memory. At the end the publishing step alone is timed: rollbacks,
back and forth.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.changed_catalogue import change
from benchmarks.command_line import load_or_measure, runner_parser
from benchmarks.memory import peak_megabytes
from benchmarks.refresh.toy_store import ALLOW, ENCODERS, SETTINGS, write_catalogue, write_model
from benchmarks.report import markdown_table, report_header

NAME = "refresh_cost"
MODULE = f"benchmarks.refresh.{NAME}"
OLD_KEYS = {"anew": "rebuild", "first": "build"}  # of reports before 2026-11-30
_PUBLICATIONS = 20


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report, size by size."""
    names = ("products", "share", "encoder", "repeats", "seed")
    settings = {name: getattr(options, name) for name in names}
    report = report_header(NAME, settings, packages=("pylance", "lancedb", "faiss-cpu"))
    report["sizes"] = [measure_size(size, options) for size in options.products]
    return report


def measure_size(products: int, options: argparse.Namespace) -> dict[str, Any]:
    """Build once, then refresh and rebuild, as often as the options say."""
    with tempfile.TemporaryDirectory(prefix="ubm_embed_") as name:
        home = Path(name)
        catalogue = write_catalogue(home, products, options.seed)
        model = write_model(home, catalogue, options.encoder, options.seed)
        build = in_child("build", store=home / "store", products=catalogue, model=model)
        rounds = []
        for number in range(1, options.repeats + 1):
            catalogue = change(catalogue, options.share, number)
            refreshed = in_child("refresh", store=home / "store", products=catalogue)
            rebuilt = in_child("build", store=home / "rebuild", products=catalogue, model=model)
            shutil.rmtree(home / "rebuild")
            rounds.append({"refresh": refreshed, "rebuild": rebuilt})
            print(f"{products:,}: {refreshed['seconds']:.1f} s against {rebuilt['seconds']:.1f} s", file=sys.stderr)
        publish = in_child("publish", store=home / "store")
        return {"products": products, "build": build, "rounds": rounds, "publish": publish}


def in_child(step: str, **arguments: Path) -> dict[str, Any]:
    """The figures of one step, run in its own process."""
    pairs = [f"{name}={value}" for name, value in arguments.items()]
    command = [sys.executable, "-m", MODULE, "--child", step, *pairs]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def child(step: str, pairs: Sequence[str]) -> dict[str, Any]:
    """The figures of one step, run in this process, with arguments as NAME=VALUE: seconds, memory, work."""
    arguments = dict(pair.split("=", 1) for pair in pairs)
    from indexer.refresh.refresh import build_index, refresh

    imported = peak_megabytes()
    started = time.perf_counter()
    if step == "build":
        version = build_index(**arguments, settings=SETTINGS, allow=ALLOW)  # type: ignore[arg-type]
        figures: dict[str, Any] = {"encoded": version.products}
    elif step == "refresh":
        done = refresh(**arguments, settings=SETTINGS, allow=ALLOW)  # type: ignore[arg-type]
        figures = {"encoded": done.encoded, "written": done.written, "steps": done.to_dict()["seconds"]}
    else:
        figures = {"publish_ms": publication_ms(arguments["store"])}
    seconds = time.perf_counter() - started
    return {**figures, "seconds": round(seconds, 3), "peak_mb": peak_megabytes(), "imported_mb": imported}


def publication_ms(store: str) -> list[float]:
    """Milliseconds of rollbacks back and forth between the two versions of a store."""
    from indexer.store.embedding_store import EmbeddingStore
    from indexer.versions.live import live_number, version_numbers
    from indexer.versions.rollback import roll_back

    opened = EmbeddingStore.open(store)
    times = []
    for _ in range(_PUBLICATIONS):
        live = live_number(opened)
        target = next(number for number in version_numbers(opened) if number != live)
        started = time.perf_counter()
        roll_back(opened, target)
        times.append(round((time.perf_counter() - started) * 1000, 3))
    return times


def table(report: dict[str, Any]) -> str:
    """A row for each size."""
    columns = [
        "products",
        "encoded",
        "of all",
        "refresh",
        "rebuild",
        "of rebuild",
        "publish",
        "peak refresh",
        "peak rebuild",
    ]
    rows = []
    for size in report["sizes"]:
        refreshed, rebuilt = ([one[name] for one in size["rounds"]] for name in ("refresh", "rebuild"))
        seconds, whole = (median(one["seconds"] for one in figures) for figures in (refreshed, rebuilt))
        encoded = median(one["encoded"] for one in refreshed)
        rows.append(
            [
                f"{size['products']:,}",
                f"{encoded:,.0f}",
                f"{encoded / size['products']:.1%}",
                f"{seconds:.1f} s",
                f"{whole:.1f} s",
                f"{seconds / whole:.1%}",
                f"{median(size['publish']['publish_ms']):.1f} ms",
                *(f"{max(one['peak_mb'] for one in figures):,.0f} MB" for figures in (refreshed, rebuilt)),
            ]
        )
    return markdown_table(columns, rows)


def notes(report: dict[str, Any]) -> str:
    """The time of each step of a refresh, and the memory of a process before its work."""
    lines = []
    for size in report["sizes"]:
        steps = [one["refresh"]["steps"] for one in size["rounds"]]
        shares = ", ".join(f"{name} {median(step[name] for step in steps):.1f} s" for name in steps[0])
        lines.append(
            f"{size['products']:,}: {shares}; {size['rounds'][0]['refresh']['imported_mb']:.0f} MB after imports"
        )
    return "\n".join(lines)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = runner_parser(f"refresh.{NAME}", __doc__)
    add = parser.add_argument
    add("--products", type=int, nargs="+", default=[200_000, 1_000_000], help="sizes of the catalogue")
    add("--share", type=float, default=0.01, help="share of products with a new title, and as many with a new price")
    add("--encoder", choices=sorted(ENCODERS), default="tiny")
    add("--repeats", type=int, default=3)
    add("--seed", type=int, default=0)
    add("--child", nargs="+", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its table; or print the table of a saved one."""
    options = parse(arguments)
    if options.child:
        print(json.dumps(child(options.child[0], options.child[1:])))
        return
    report = load_or_measure(options, measure, OLD_KEYS)
    print(f"{table(report)}\n\n{notes(report)}")


if __name__ == "__main__":
    main()
