"""What does counting cost: of a log by itself, and in a refresh?

python -m benchmarks.refresh.counting_cost

Counting: a made-up log of --interactions with --products is read and counted as a refresh does it, and the counts are
written as a version has them. Refreshing: a store of --catalogue products, 1% of which get a new title and as many a
new price, is refreshed without interactions, with those of as many for each product, and with the same without counts
(`--no-counts`), which counts popularity alone. Each step runs in its own process, which reports seconds, seconds of CPU
and its peak memory. An untrained encoder makes the vectors: they mean nothing, and cost little.
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
from typing import Any

import numpy as np
import polars as pl

from benchmarks.changed_catalogue import change
from benchmarks.command_line import add_quick_option, load_or_measure, parse_with_quick, runner_parser
from benchmarks.memory import peak_megabytes
from benchmarks.report import markdown_table, report_header

NAME = "counting_cost"
MODULE = f"benchmarks.refresh.{NAME}"
QUICK = {"products": 10_000, "interactions": 100_000, "catalogue": 1000}
_LENGTH = 5  # of a session, on average
_NEAR = 30  # how far apart the products of a session are, on average
_SHARE = 0.01
_REFRESHES = ("none", "popularity", "counts")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report: the steps of counting, and the refreshes."""
    names = ("products", "interactions", "catalogue", "seed")
    settings = {name: getattr(options, name) for name in names}
    report = report_header(NAME, settings, packages=("polars", "numpy", "pyarrow", "faiss-cpu", "lancedb"))
    with tempfile.TemporaryDirectory(prefix="ubm_embed_") as name:
        home = Path(name)
        ids = pl.Series([f"p{number}" for number in range(options.products)])
        log = write_log(home / "log.parquet", ids, options.interactions, options.seed)
        report["counting"] = in_child("count", log=log, file=home / "counts.arrow")
        log.unlink()
        if options.catalogue:
            per_product = options.interactions / options.products
            report["refreshes"] = measure_refreshes(home, options.catalogue, per_product, options.seed)
    return report


def write_log(file: Path, product_ids: pl.Series, interactions: int, seed: int) -> Path:
    """Write a log whose sessions stay near one product each, some products far more often than others."""
    random = np.random.default_rng(seed)
    sessions = np.repeat(np.arange(interactions), random.geometric(1 / _LENGTH, interactions))[:interactions]
    first = (len(product_ids) * random.random(sessions[-1] + 1) ** 2).astype(np.int64)
    products = first[sessions] + random.laplace(0, _NEAR, interactions).astype(np.int64)
    columns = {"session_id": sessions, "action": np.full(interactions, "view")}
    rows = pl.DataFrame(columns).with_columns(product_ids.gather(products % len(product_ids)).alias("product_id"))
    rows = rows.with_columns(pl.format("s{}", "session_id").alias("session_id"))
    rows = rows.with_columns(position=pl.int_range(pl.len()).over("session_id"))
    rows.write_parquet(file)
    return file


def measure_refreshes(home: Path, products: int, per_product: float, seed: int) -> dict[str, Any]:
    """The same refresh with each of what may be counted, of copies of one store."""
    from benchmarks.refresh.toy_store import write_catalogue, write_model

    catalogue = write_catalogue(home, products, seed)
    ids = pl.read_parquet(catalogue, columns=["product_id"])["product_id"]
    log = write_log(home / "log.parquet", ids, round(per_product * products), seed)
    in_child("build", products=catalogue, store=home / "store", model=write_model(home, catalogue, "tiny", seed))
    changed, measured = change(catalogue, _SHARE, 1), {}
    for counted in _REFRESHES:
        shutil.copytree(home / "store", home / counted)
        interactions = {} if counted == "none" else {"interactions": log}
        measured[counted] = in_child(counted, products=changed, store=home / counted, **interactions)
        shutil.rmtree(home / counted)
    return measured


def in_child(step: str, **arguments: Path) -> dict[str, Any]:
    """The figures of one step, run in its own process."""
    pairs = [f"{name}={value}" for name, value in arguments.items()]
    command = [sys.executable, "-m", MODULE, "--child", step, *pairs]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{step}: {figures}", file=sys.stderr)
    return figures


def child(step: str, pairs: Sequence[str]) -> dict[str, Any]:
    """The figures of one step, run in this process, with arguments as NAME=VALUE."""
    arguments = dict(pair.split("=", 1) for pair in pairs)
    if step == "count":
        return count(Path(arguments["log"]), Path(arguments["file"]))
    from benchmarks.refresh.toy_store import ALLOW, SETTINGS
    from indexer.refresh.refresh import build_index, refresh

    clock = _Clock()
    if step == "build":
        build_index(**arguments, settings=SETTINGS, allow=ALLOW)  # type: ignore[arg-type]
        return clock.figures()
    done = refresh(**arguments, settings=SETTINGS, allow=ALLOW, counts=step == "counts")  # type: ignore[arg-type]
    return {**clock.figures(), "steps": done.to_dict()["seconds"]}


def count(log: Path, file: Path) -> dict[str, Any]:
    """Count a log, and write what was counted."""
    from indexer.counts.counts_file import write_counts
    from indexer.refresh.interaction_counts import InteractionCounts
    from ubm_embed.counts.ranking_weights import CountWeights, seen_bins

    weights, clock = CountWeights(), _Clock()
    logged = InteractionCounts.read(log, weights=weights).transitions
    assert logged is not None, "weights were given"
    counted = logged.of_catalogue(logged.hashes)
    figures: dict[str, Any] = {"count": clock.figures()}
    clock = _Clock()
    write_counts(file, counted.counts, seen_bins(counted.seen), weights)
    rows = {"products": counted.counts.products, "sessions": counted.sessions, "interactions": counted.interactions}
    return {
        **figures,
        "write": clock.figures(),
        **rows,
        "pairs": counted.counts.neighbours.size,
        "file_bytes": file.stat().st_size,
    }


class _Clock:
    """Measures from where it is made."""

    def __init__(self) -> None:
        self._wall, self._cpu, self._memory = time.perf_counter(), time.process_time(), peak_megabytes()

    def figures(self) -> dict[str, float]:
        """Seconds, those of the CPU, and the peak memory of the process until now and until the beginning."""
        seconds = {"seconds": time.perf_counter() - self._wall, "cpu_seconds": time.process_time() - self._cpu}
        rounded = {name: round(value, 3) for name, value in seconds.items()}
        return {**rounded, "peak_mb": peak_megabytes(), "peak_mb_before": self._memory}


def table(report: dict[str, Any]) -> str:
    """A row for each step."""
    counting = report["counting"]
    steps = [("count", counting["count"]), ("write the counts", counting["write"])]
    steps += [(f"refresh, interactions: {name}", one) for name, one in report.get("refreshes", {}).items()]
    rows = [
        (name, f"{one['seconds']:.1f}", f"{one['cpu_seconds']:.1f}", f"{one['peak_mb']:,.0f}") for name, one in steps
    ]
    sizes = f"{counting['pairs']:,} pairs, a file of {counting['file_bytes'] / 1e6:,.0f} MB"
    return f"{markdown_table(('step', 'seconds', 'of CPU', 'peak MB'), rows)}\n\n{sizes}"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = runner_parser(f"refresh.{NAME}", __doc__)
    add_quick_option(parser, QUICK)
    add = parser.add_argument
    add("--products", type=int, default=1_000_000, help="of the log that is counted by itself")
    add("--interactions", type=int, default=10_000_000, help="of that log")
    add("--catalogue", type=int, default=200_000, help="products of the store that is refreshed; 0 leaves that out")
    add("--seed", type=int, default=0)
    add("--child", nargs="+", help=argparse.SUPPRESS)
    return parse_with_quick(parser, QUICK, arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its table; or print the table of a saved one."""
    options = parse(arguments)
    if options.child:
        print(json.dumps(child(options.child[0], options.child[1:])))
        return
    print(table(load_or_measure(options, measure)))


if __name__ == "__main__":
    main()
