"""Which index answers fastest at equal recall: each of our kinds, the choice of `auto`, and other libraries?

python -m benchmarks.retrieval.index_kinds HOME --sizes 30000 300000 1000000

HOME is a folder of `trained_shop`: vectors of a trained model over a sample shop, of which each size takes the first
ones, and vectors of sessions, which are the timed queries. Every index is tuned in the same way: to the smallest search
value that finds 0.99 of the exact ten nearest of 200 products and of 200 midpoints between two products. An index stays
in HOME once it is built. All indexes of a size are in memory together and take turns.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.command_line import load_or_measure, runner_parser
from benchmarks.memory import resident_bytes
from benchmarks.report import markdown_table, report_header
from benchmarks.retrieval.other_searchers import OTHERS
from benchmarks.retrieval.query_times import BATCH_SIZE, SINGLE_QUERIES, batch_ms, pairs_ms, single_ms
from benchmarks.retrieval.searchers import OURS, Ours, Searcher, Unwrapped
from benchmarks.retrieval.shop_home import TrainedShop
from indexer.index.backend import Neighbours
from indexer.index.faiss_backend import FaissBackend
from indexer.index.faiss_factory import load_faiss
from indexer.index.recall import TuningQueries, midpoints_of, recall_at_k
from indexer.index.vector_index import VectorIndex
from ubm_embed.data.arrays import FloatArray, evenly_spaced

NAME = "index_kinds"
MODULE = f"benchmarks.retrieval.{NAME}"
OLD_KEYS = {"engines": "indexes", "breadth": "search_value"}  # of reports before 2026-11-30
TUNING_QUERIES, SESSIONS = 200, 400
_K, _RECALL = 10, 0.99


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure every size; the report."""
    settings = {name: getattr(options, name) for name in ("sizes", "indexes", "rounds", "without")}
    packages = ("faiss-cpu", "hnswlib", "usearch", "lancedb", "pylance")
    report = report_header(NAME, settings, packages=packages)
    report["sizes"] = [measure_size(TrainedShop(options.home), size, options) for size in options.sizes]
    return report


def measure_size(shop: TrainedShop, size: int, options: argparse.Namespace) -> dict[str, Any]:
    """Build and tune the indexes that HOME lacks, then time all of them."""
    left_out = {name for one in options.without for number, name in [one.split(":", 1)] if int(number) == size}
    indexes: dict[str, dict[str, Any]] = {}
    for name in options.indexes:
        if name not in left_out:
            built = _in_child(folder_of(shop, size, name) / "built.json", "build", shop, size, name)
            if not options.build_only:
                indexes[name] = built | _in_child(folder_of(shop, size, name) / "tuned.json", "tune", shop, size, name)
    if indexes:
        for name, timed in time_in_turns(shop, size, indexes, options.rounds).items():
            indexes[name] |= timed
    return {"products": size, "indexes": indexes}


def folder_of(shop: TrainedShop, size: int, name: str) -> Path:
    """The folder of an index of one size."""
    return shop.home / "indexes" / str(size) / name.replace(" ", "_")


def _in_child(record: Path, step: str, shop: TrainedShop, size: int, name: str) -> dict[str, Any]:
    """The figures of a step, which runs in its own process unless its record exists."""
    if not record.is_file():
        if step == "build":
            shutil.rmtree(record.parent, ignore_errors=True)
            record.parent.mkdir(parents=True)
        command = [sys.executable, "-m", MODULE, str(shop.home), "--child", step, str(size), name]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        record.write_text(done.stdout.splitlines()[-1])
        print(f"{size:,} {name}: {record.read_text()}", file=sys.stderr, flush=True)
    figures: dict[str, Any] = json.loads(record.read_text())
    return figures


def build(shop: TrainedShop, size: int, name: str, tuning_queries: int = TUNING_QUERIES) -> dict[str, Any]:
    """Build one index: seconds by the clock, CPU seconds of all threads, bytes of its files."""
    vectors, folder = shop.vectors[:size], folder_of(shop, size, name)
    searcher = searcher_of(name, queries_for_tuning(vectors, tuning_queries))
    started, cpu = time.perf_counter(), time.process_time()
    searcher.build(vectors, folder)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "bytes_on_disk": sum(file.stat().st_size for file in files),
        "built": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def tune(shop: TrainedShop, size: int, name: str, tuning_queries: int = TUNING_QUERIES) -> dict[str, Any]:
    """The smallest search value with the recall, and the memory of the index after some queries."""
    tuning, queries = queries_for_tuning(shop.vectors[:size], tuning_queries), shop.queries[:50].copy()
    _import_all(name)
    before = resident_bytes()
    searcher = searcher_of(name, tuning)
    searcher.load(folder_of(shop, size, name))
    recall = 0.0
    for search_value in searcher.search_values:
        searcher.search_value = search_value
        recall = tuning.recall_of(searcher.search)
        if recall >= _RECALL:
            break
    for query in queries:
        searcher.search(query[None], _K)
    figures: dict[str, Any] = {
        "search_value": searcher.search_value,
        "recall": recall,
        "bytes_in_memory": resident_bytes() - before,
    }
    if isinstance(searcher, Ours):
        figures |= {"kind": searcher.index.kind, "parameters": searcher.index.spec.to_parameters()}
    return figures


def queries_for_tuning(vectors: FloatArray, count: int) -> TuningQueries:
    """`count` products, midpoints between them, and the exact nearest of both, as when a store is built."""
    rows = evenly_spaced(len(vectors), count)
    products = np.ascontiguousarray(vectors[rows])
    midpoints = midpoints_of(products)
    nearest = [exact(vectors, queries, _K + 1) for queries in (products, midpoints)]
    return TuningQueries(products, rows, nearest[0], midpoints, nearest[1], lambda some: vectors[some], len(vectors))


def exact(vectors: FloatArray, queries: FloatArray, k: int) -> Neighbours:
    """The exact nearest vectors of queries: [B, D] -> [B, K]."""
    faiss = load_faiss()
    scores, positions = faiss.knn(queries, np.ascontiguousarray(vectors), k, metric=faiss.METRIC_INNER_PRODUCT)
    return Neighbours(scores, positions)


def searcher_of(name: str, queries: TuningQueries | None = None) -> Searcher:
    """The searcher of this name; one of ours needs queries to be built."""
    return Ours(name, queries) if name in OURS else OTHERS[name]()


def load_searcher(shop: TrainedShop, size: int, name: str, search_value: int) -> Searcher:
    """An index that was built, with the search value that it was tuned to."""
    searcher = searcher_of(name)
    searcher.load(folder_of(shop, size, name))
    searcher.search_value = search_value
    return searcher


def time_in_turns(
    shop: TrainedShop,
    size: int,
    indexes: Mapping[str, Mapping[str, Any]],
    rounds: int,
    *,
    sessions: int = SESSIONS,
    single_queries: int = SINGLE_QUERIES,
    batch_size: int = BATCH_SIZE,
) -> dict[str, dict[str, Any]]:
    """Recall and milliseconds of each index for vectors of sessions; of ours in memory also without the wrapper."""
    vectors, queries = shop.vectors[:size], shop.queries[:sessions]
    nearest = exact(vectors, queries, _K)
    searchers = {name: load_searcher(shop, size, name, one["search_value"]) for name, one in indexes.items()}
    bare = {
        name: Unwrapped(one.index, _K)
        for name, one in searchers.items()
        if isinstance(one, Ours) and isinstance(one.index.backend, FaissBackend)
    }
    figures: dict[str, dict[str, Any]] = {name: {"single_ms": [], "batch_ms": []} for name in searchers}
    for name in bare:
        figures[name] |= {"bare_single_ms": [], "bare_batch_ms": []}
    for _ in range(rounds):
        for name, searcher in searchers.items():
            times = figures[name]
            if name in bare:
                wrapped, unwrapped = pairs_ms(searcher, bare[name], queries, _K, single_queries)
                times["single_ms"] += wrapped
                times["bare_single_ms"] += unwrapped
                times["bare_batch_ms"].append(batch_ms(bare[name], queries, _K, batch_size))
            else:
                times["single_ms"] += single_ms(searcher, queries, _K, single_queries)
            times["batch_ms"].append(batch_ms(searcher, queries, _K, batch_size))
    for name, searcher in searchers.items():
        recall = recall_at_k(searcher.search, queries, nearest, lambda rows: vectors[rows])
        figures[name]["recall_of_sessions"] = recall
        figures[name] = summary(figures[name])
    return figures


def summary(figures: dict[str, Any]) -> dict[str, Any]:
    """Medians in place of lists of times, and the 99th percentile of single queries."""
    short: dict[str, Any] = {}
    for name, value in figures.items():
        if not isinstance(value, list):
            short[name] = round(float(value), 5)
            continue
        short[name] = round(median(value), 5)
        if name.endswith("single_ms"):
            short[name.replace("_ms", "_p99_ms")] = round(float(np.percentile(value, 99)), 5)
    return short


def _import_all(name: str) -> None:
    """Import the libraries before memory is measured, so that it is the memory of the index alone."""
    load_faiss()
    VectorIndex.build([np.eye(32, dtype=np.float32)]).search(np.eye(32, dtype=np.float32)[:1], 1)
    if name == "LanceDB IVF_PQ":
        import lancedb  # noqa: F401


def table(report: dict[str, Any]) -> str:
    """A table for each size of the report."""
    return "\n\n".join(_table(size) for size in report["sizes"])


def _table(size: dict[str, Any]) -> str:
    columns = (
        f"{size['products']:,} vectors",
        "recall",
        "of sessions",
        "one, ms",
        "p99",
        "of 256, ms",
        "wrapper",
        "build, s",
        "CPU s",
        "memory, MB",
        "disk, MB",
    )
    return markdown_table(columns, [_row(name, one) for name, one in size["indexes"].items()])


def _row(name: str, one: dict[str, Any]) -> tuple[str, ...]:
    bare = one.get("bare_single_ms")
    label = f"**auto: {one['kind']}**" if name == "auto" else name
    search_value = f" ({one['search_value']})" if one["search_value"] > 1 else ""
    return (
        label + search_value,
        f"{one['recall']:.3f}",
        f"{one['recall_of_sessions']:.3f}",
        f"{one['single_ms']:.3f}",
        f"{one['single_p99_ms']:.3f}",
        f"{one['batch_ms']:.3f}",
        "" if bare is None else f"{100 * (one['single_ms'] / bare - 1):+.0f}%",
        f"{one['seconds']:.0f}",
        f"{one['cpu_seconds']:.0f}",
        f"{one['bytes_in_memory'] / 1e6:,.0f}",
        f"{one['bytes_on_disk'] / 1e6:,.0f}",
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = runner_parser(f"retrieval.{NAME}", __doc__)
    parser.add_argument(
        "home", type=Path, metavar="HOME", nargs="?", help="a folder of benchmarks.retrieval.trained_shop"
    )
    add = parser.add_argument
    add("--sizes", type=int, nargs="+", default=[30_000, 300_000, 1_000_000], help="numbers of vectors")
    add("--indexes", nargs="+", default=[*OURS, *OTHERS], choices=[*OURS, *OTHERS], help="indexes to compare")
    add("--without", nargs="+", default=[], metavar="SIZE:INDEX", help="leave out an index at one size")
    add("--rounds", type=int, default=5)
    add("--build-only", action="store_true", help="build the missing indexes, and time nothing")
    add("--child", nargs=3, metavar=("STEP", "SIZE", "INDEX"), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its tables; or print the tables of a saved one."""
    options = parse(arguments)
    if options.child:
        step, size, name = options.child
        print(json.dumps({"build": build, "tune": tune}[step](TrainedShop(options.home), int(size), name)))
    elif options.build_only:
        measure(options)
    else:
        print(table(load_or_measure(options, measure, OLD_KEYS)))


if __name__ == "__main__":
    main()
