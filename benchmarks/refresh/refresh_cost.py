"""What a nightly refresh costs against building anew, and how memory grows with the catalogue.

python -m benchmarks.refresh.refresh_cost --products 200000 1000000

For each size, one after the other and each in a process of its own: a store is built, a share of its products gets
another title and as many another price, the store is refreshed, and the changed catalogue is built anew into another
store. Each process says how long its steps took and how much memory it had at most. Last, the publishing step alone is
timed: a rollback and back, many times.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.command_line import load_or_measure
from benchmarks.refresh.toy_store import ALLOW, ENCODERS, SETTINGS, change, write_catalogue, write_model
from benchmarks.report import markdown_table, report_header

NAME = "refresh_cost"
_PUBLISHES = 20


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure every size; the report."""
    names = ("products", "share", "encoder", "repeats", "seed")
    settings = {name: getattr(options, name) for name in names}
    report = report_header(NAME, settings, packages=("pylance", "lancedb", "faiss-cpu"))
    report["sizes"] = [measure_size(size, options) for size in options.products]
    return report


def measure_size(products: int, options: argparse.Namespace) -> dict[str, Any]:
    """Build, refresh and build anew, in turns as often as asked."""
    with tempfile.TemporaryDirectory(prefix="ubm_embed_") as name:
        home = Path(name)
        catalogue = write_catalogue(home, products, options.seed)
        model = write_model(home, catalogue, options.encoder, options.seed)
        first = in_child("build", store=home / "store", products=catalogue, model=model)
        rounds = []
        for number in range(1, options.repeats + 1):
            catalogue = change(catalogue, options.share, number)
            refreshed = in_child("refresh", store=home / "store", products=catalogue)
            anew = in_child("build", store=home / "anew", products=catalogue, model=model)
            shutil.rmtree(home / "anew")
            rounds.append({"refresh": refreshed, "anew": anew})
            print(f"{products:,}: {refreshed['seconds']:.1f} s against {anew['seconds']:.1f} s", file=sys.stderr)
        publish = in_child("publish", store=home / "store")
        return {"products": products, "first": first, "rounds": rounds, "publish": publish}


def in_child(what: str, **arguments: Path) -> dict[str, Any]:
    """Run one step in a process of its own; what it says of itself."""
    given = [f"{name}={value}" for name, value in arguments.items()]
    command = [sys.executable, "-m", f"benchmarks.{NAME}", "--child", what, *given]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(what: str, given: Sequence[str]) -> dict[str, Any]:
    """One step, in this process: its seconds, its memory, what it did."""
    arguments = dict(pair.split("=", 1) for pair in given)
    from indexer.refresh.refresh import build_index, refresh

    imported = peak_mb()
    started = time.perf_counter()
    if what == "build":
        version = build_index(**arguments, settings=SETTINGS, allow=ALLOW)  # type: ignore[arg-type]
        found: dict[str, Any] = {"encoded": version.products}
    elif what == "refresh":
        done = refresh(**arguments, settings=SETTINGS, allow=ALLOW)  # type: ignore[arg-type]
        found = {"encoded": done.encoded, "written": done.written, "steps": done.to_dict()["seconds"]}
    else:
        found = {"publish_ms": publishes(arguments["store"])}
    seconds = time.perf_counter() - started
    return {**found, "seconds": round(seconds, 3), "peak_mb": peak_mb(), "imported_mb": imported}


def publishes(store: str) -> list[float]:
    """Milliseconds of rolling back and forth between the two versions that a store has."""
    from indexer.store.embedding_store import EmbeddingStore
    from indexer.versions.live import live_number, version_numbers
    from indexer.versions.rollback import roll_back

    opened = EmbeddingStore.open(store)
    times = []
    for _ in range(_PUBLISHES):
        live = live_number(opened)
        target = next(number for number in version_numbers(opened) if number != live)
        started = time.perf_counter()
        roll_back(opened, target)
        times.append(round((time.perf_counter() - started) * 1000, 3))
    return times


def peak_mb() -> int:
    """The most memory that this process has had. (What getrusage says includes what its parent had.)"""
    status = Path("/proc/self/status").read_text("ascii")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) // 1024  # type: ignore[index]


def table(report: dict[str, Any]) -> str:
    """A row a size."""
    columns = ["products", "encoded", "of anew", "refresh", "anew", "of anew", "publish", "peak refresh", "peak anew"]
    rows = []
    for size in report["sizes"]:
        refreshed, anew = ([one[name] for one in size["rounds"]] for name in ("refresh", "anew"))
        seconds, whole = (median(one["seconds"] for one in some) for some in (refreshed, anew))
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
                *(f"{max(one['peak_mb'] for one in some):,} MB" for some in (refreshed, anew)),
            ]
        )
    return markdown_table(columns, rows)


def notes(report: dict[str, Any]) -> str:
    """Where the time of a refresh goes, and what a process weighs before it begins."""
    lines = []
    for size in report["sizes"]:
        steps = [one["refresh"]["steps"] for one in size["rounds"]]
        shares = ", ".join(f"{name} {median(step[name] for step in steps):.1f} s" for name in steps[0])
        lines.append(f"{size['products']:,}: {shares}; {size['rounds'][0]['refresh']['imported_mb']} MB once imported")
    return "\n".join(lines)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}", description=__doc__)
    add = parser.add_argument
    add("--products", type=int, nargs="+", default=[200_000, 1_000_000], help="sizes of the catalogue")
    add("--share", type=float, default=0.01, help="of products with another title, and with another price")
    add("--encoder", choices=sorted(ENCODERS), default="tiny")
    add("--repeats", type=int, default=3)
    add("--seed", type=int, default=0)
    add("--out", type=Path, help="where the report goes; default: results/")
    add("--show", type=Path, help="print the table of a kept report")
    add("--child", nargs="+", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, keep the report, print its table; or print that of a kept one."""
    options = parse(arguments)
    if options.child:
        print(json.dumps(child(options.child[0], options.child[1:])))
        return
    report = load_or_measure(options, measure)
    print(f"{table(report)}\n\n{notes(report)}")


if __name__ == "__main__":
    main()
