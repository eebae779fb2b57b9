"""What do counts add to a query: the same sessions without them, and with 20 and 100 neighbours a product?

python -m benchmarks.retrieval.count_cost HOME

HOME is a folder of `trained_shop`. Counts are made up, and written as a version has them: each product has as many
neighbours, which are random products, so that few vectors are in the processor's caches; values and how often products
were seen are random, too. A session is asked with each number of neighbours in turn, so that a busy machine slows all
of them alike, and every second round the other way round. All texts are in the cache. `cpu` is the time of the thread
that asks: with OMP_NUM_THREADS=1 it does all the work.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command_line import add_quick_option, load_or_measure, parse_with_quick, runner_parser
from benchmarks.report import markdown_table, report_header
from benchmarks.retrieval.shop_home import TrainedShop
from indexer.catalogue.mapped_catalogue import MappedCatalogue
from indexer.counts.counts_file import COUNTS_FILE, VersionCounts, read_counts, write_counts
from indexer.revisions.overlay import Overlay
from indexer.revisions.revised_counts import RevisedCounts
from indexer.search.retriever import Retriever
from indexer.search.sources import Sources
from ubm_embed.counts.ranking_weights import CountWeights
from ubm_embed.counts.transition_counts import TransitionCounts
from ubm_embed.data.session import Session, parse_session

NAME = "count_cost"
QUICK = {"sessions": 200, "rounds": 2}
_K = 10
_MAX_BIN = 9
_WEIGHTS = CountWeights(by_seen=(0.0, 0.05, 0.1, 0.12))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report: a row for each number of neighbours."""
    settings = {name: getattr(options, name) for name in ("sessions", "rounds", "neighbours", "seed")}
    settings["threads"] = os.environ.get("OMP_NUM_THREADS", "all")
    report = report_header(NAME, settings, packages=("faiss-cpu", "numpy"))
    shop = TrainedShop(options.home)
    sessions = [parse_session(document) for document in shop.sessions()[: options.sessions]]
    with (
        tempfile.TemporaryDirectory(prefix="ubm_embed_") as folder,
        Retriever.open(shop.store, device="cpu", counts=False, words=False) as plain,
    ):
        retrievers, files = [], []
        for neighbours in options.neighbours:
            file = Path(folder) / f"{neighbours}_{COUNTS_FILE}"
            counts = made_up_counts(file, len(plain.catalogue), neighbours, options.seed) if neighbours else None
            retrievers.append(plain if counts is None else _with_counts(plain, counts))
            files.append(0 if counts is None else file.stat().st_size)
        wall, cpu = times(retrievers, sessions, options.rounds)
    report["products"] = plain.version.products
    report["index"] = {"kind": plain.version.kind, **plain.version.parameters}
    report["rows"] = [
        {"neighbours": neighbours, "file_bytes": files[row], "wall": _summary(wall[row]), "cpu": _summary(cpu[row])}
        for row, neighbours in enumerate(options.neighbours)
    ]
    return report


def made_up_counts(file: Path, products: int, neighbours: int, seed: int) -> VersionCounts:
    """Counts in which each product has this many random neighbours, written to a file and mapped."""
    random = np.random.default_rng(seed)
    # Ascending and distinct: a random beginning, and random steps on, around the end.
    steps = random.integers(1, max(products // (neighbours + 1), 1) + 1, (products, neighbours), dtype=np.int32)
    rows = np.cumsum(steps, axis=1, dtype=np.int32)
    rows += random.integers(0, products, (products, 1), dtype=np.int32) % (products - rows[:, -1:])
    values = (0.01 + 0.05 * random.pareto(1.5, rows.shape)).astype(np.float32)
    offsets = np.arange(products + 1, dtype=np.int64) * neighbours
    seen = random.integers(0, _MAX_BIN, products).astype(np.uint8)
    write_counts(file, TransitionCounts(offsets, rows.ravel(), values.ravel()), seen, _WEIGHTS)
    return read_counts(file, products)


def _with_counts(plain: Retriever, counts: VersionCounts) -> Retriever:
    catalogue = plain.published_catalogue
    assert isinstance(catalogue, MappedCatalogue), "today's versions have one"
    overlay = Overlay.of_base(catalogue, plain.index.dimension)
    sources = Sources.from_version(RevisedCounts.as_published(counts, overlay), None)
    return Retriever(plain.version, plain.embedder, plain.index, plain.catalogue, sources=sources)


def times(retrievers: Sequence[Retriever], sessions: Sequence[Session], rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds of each query, wall and CPU: [retrievers, queries] each. A first round of all is not measured."""
    measured = np.empty((2, len(retrievers), rounds, len(sessions)))
    for round_ in range(-1, rounds):
        order = range(len(retrievers))
        for column, session in enumerate(sessions):
            for row in order if round_ % 2 else reversed(order):
                wall, cpu = time.perf_counter(), time.thread_time()
                retrievers[row].recommend(session, _K)
                cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
                if round_ >= 0:
                    measured[:, row, round_, column] = 1000 * wall, 1000 * cpu
    wall_ms, cpu_ms = measured.reshape(2, len(retrievers), -1)
    return wall_ms, cpu_ms


def _summary(milliseconds: np.ndarray) -> dict[str, float]:
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return {"p50_ms": round(float(p50), 4), "p99_ms": round(float(p99), 4)}


def table(report: dict[str, Any]) -> str:
    """The table of a report."""
    least = report["rows"][0]["cpu"]["p50_ms"]
    rows = [
        (
            f"{row['neighbours']}",
            *(f"{row[clock][name]:.2f}" for clock in ("wall", "cpu") for name in ("p50_ms", "p99_ms")),
            f"{row['cpu']['p50_ms'] - least:.2f}",
            f"{row['file_bytes'] / 1e6:,.0f}",
        )
        for row in report["rows"]
    ]
    columns = (f"neighbours, {report['products']:,} products", "p50, ms", "p99", "CPU p50", "p99", "more", "file, MB")
    return markdown_table(columns, rows)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = runner_parser(f"retrieval.{NAME}", __doc__)
    add_quick_option(parser, QUICK)
    add = parser.add_argument
    add("home", type=Path, metavar="HOME", nargs="?", help="a folder of benchmarks.retrieval.trained_shop")
    add("--neighbours", type=int, nargs="+", default=[0, 20, 100], help="of each product; 0 is without counts")
    add("--sessions", type=int, default=1000)
    add("--rounds", type=int, default=4)
    add("--seed", type=int, default=0)
    return parse_with_quick(parser, QUICK, arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its table; or print the table of a saved one."""
    print(table(load_or_measure(parse(arguments), measure)))


if __name__ == "__main__":
    main()
