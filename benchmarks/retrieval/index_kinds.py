"""Which index answers fastest at the same recall: each of our kinds, what `auto` picks, and the libraries beside them.

python -m benchmarks.retrieval.index_kinds HOME --sizes 30000 300000 1000000

HOME is what `trained_shop` makes: vectors of a trained model over the sample shop, of which the first so
many are taken, and vectors of sessions, which are the queries that are timed. Every index is tuned in the same way, to
the least effort that finds 0.99 of the exact ten nearest of 200 products and of 200 places between two products, and
stays in HOME once it is built. Then all of a size are in memory together and are timed in turns.
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

from benchmarks.command_line import load_or_measure
from benchmarks.report import markdown_table, report_header
from benchmarks.retrieval.other_searchers import OTHERS
from benchmarks.retrieval.query_times import batch_ms, pairs_ms, single_ms
from benchmarks.retrieval.searchers import OURS, Ours, Searcher, Unwrapped
from benchmarks.retrieval.trained_shop import TrainedShop
from indexer.index.backend import Neighbours
from indexer.index.faiss_backend import FaissBackend
from indexer.index.faiss_factory import load_faiss
from indexer.index.recall import TuningQueries, midpoints_of, recall_at_k
from indexer.index.vector_index import VectorIndex
from ubm_embed.data.arrays import FloatArray, evenly

NAME = "index_kinds"
_K, _QUESTIONS = 10, 200
_RECALL = 0.99
_SESSIONS = 400


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure every size; the report."""
    settings = {name: getattr(options, name) for name in ("sizes", "engines", "rounds", "without")}
    packages = ("faiss-cpu", "hnswlib", "usearch", "lancedb", "pylance")
    report = report_header(NAME, settings, packages=packages)
    report["sizes"] = [measure_size(TrainedShop(options.home), size, options) for size in options.sizes]
    return report


def measure_size(shop: TrainedShop, size: int, options: argparse.Namespace) -> dict[str, Any]:
    """Build and tune what is not there, then time all of it."""
    left_out = {name for one in options.without for number, name in [one.split(":", 1)] if int(number) == size}
    engines: dict[str, dict[str, Any]] = {}
    for name in options.engines:
        if name not in left_out:
            built = _kept(folder_of(shop, size, name) / "built.json", "build", shop, size, name)
            if not options.build_only:
                engines[name] = built | _kept(folder_of(shop, size, name) / "tuned.json", "tune", shop, size, name)
    if engines:
        for name, timed in time_in_turns(shop, size, engines, options.rounds).items():
            engines[name] |= timed
    return {"products": size, "engines": engines}


def folder_of(shop: TrainedShop, size: int, name: str) -> Path:
    """Where an index of a size stands."""
    return shop.home / "indexes" / str(size) / name.replace(" ", "_")


def _kept(record: Path, step: str, shop: TrainedShop, size: int, name: str) -> dict[str, Any]:
    """What a step said of itself, which is done in a process of its own if it was not yet."""
    if not record.is_file():
        if step == "build":
            shutil.rmtree(record.parent, ignore_errors=True)
            record.parent.mkdir(parents=True)
        command = [sys.executable, "-m", f"benchmarks.{NAME}", str(shop.home), "--child", step, str(size), name]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        record.write_text(done.stdout.splitlines()[-1])
        print(f"{size:,} {name}: {record.read_text()}", file=sys.stderr, flush=True)
    found: dict[str, Any] = json.loads(record.read_text())
    return found


def build(shop: TrainedShop, size: int, name: str) -> dict[str, Any]:
    """Build one index: by the clock and of all threads together, seconds; bytes of its files."""
    vectors, folder = shop.vectors[:size], folder_of(shop, size, name)
    searcher = searcher_of(name, questions_about(vectors))
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


def tune(shop: TrainedShop, size: int, name: str) -> dict[str, Any]:
    """Search as narrowly as the recall allows; with how much memory, once it has answered."""
    questions, queries = questions_about(shop.vectors[:size]), shop.queries[:50].copy()
    _import_all(name)
    before = _resident()
    searcher = searcher_of(name, questions)
    searcher.load(folder_of(shop, size, name))
    recall = 0.0
    for breadth in searcher.breadths:
        searcher.breadth = breadth
        recall = questions.recall_of(searcher.search)
        if recall >= _RECALL:
            break
    for query in queries:
        searcher.search(query[None], _K)
    found: dict[str, Any] = {"breadth": searcher.breadth, "recall": recall, "bytes_in_memory": _resident() - before}
    if isinstance(searcher, Ours):
        found |= {"kind": searcher.index.kind, "parameters": searcher.index.spec.to_parameters()}
    return found


def questions_about(vectors: FloatArray) -> TuningQueries:
    """Some products, places between them, and their exact nearest, as a store has them when it is made."""
    rows = evenly(len(vectors), _QUESTIONS)
    products = np.ascontiguousarray(vectors[rows])
    halfway = midpoints_of(products)
    near = [exact(vectors, asked, _K + 1) for asked in (products, halfway)]
    return TuningQueries(products, rows, near[0], halfway, near[1], lambda some: vectors[some], len(vectors))


def exact(vectors: FloatArray, queries: FloatArray, k: int) -> Neighbours:
    """The exact nearest: [B, D] -> [B, K]."""
    faiss = load_faiss()
    scores, positions = faiss.knn(queries, np.ascontiguousarray(vectors), k, metric=faiss.METRIC_INNER_PRODUCT)
    return Neighbours(scores, positions)


def searcher_of(name: str, questions: TuningQueries | None = None) -> Searcher:
    """The searcher of a name."""
    return Ours(name, questions) if name in OURS else OTHERS[name]()


def loaded(shop: TrainedShop, size: int, name: str, breadth: int) -> Searcher:
    """An index that was built, ready to search as it was tuned."""
    searcher = searcher_of(name)
    searcher.load(folder_of(shop, size, name))
    searcher.breadth = breadth
    return searcher


def time_in_turns(
    shop: TrainedShop, size: int, engines: Mapping[str, Mapping[str, Any]], rounds: int
) -> dict[str, dict[str, Any]]:
    """Recall and milliseconds of each, for vectors of sessions; of ours in memory also without the wrapper."""
    vectors, queries = shop.vectors[:size], shop.queries[:_SESSIONS]
    nearest = exact(vectors, queries, _K)
    searchers = {name: loaded(shop, size, name, one["breadth"]) for name, one in engines.items()}
    bare = {
        name: Unwrapped(one.index, _K)
        for name, one in searchers.items()
        if isinstance(one, Ours) and isinstance(one.index.backend, FaissBackend)
    }
    found: dict[str, dict[str, Any]] = {name: {"single_ms": [], "batch_ms": []} for name in searchers}
    for name in bare:
        found[name] |= {"bare_single_ms": [], "bare_batch_ms": []}
    for _ in range(rounds):
        for name, searcher in searchers.items():
            took = found[name]
            if name in bare:
                wrapped, unwrapped = pairs_ms(searcher, bare[name], queries, _K)
                took["single_ms"] += wrapped
                took["bare_single_ms"] += unwrapped
                took["bare_batch_ms"].append(batch_ms(bare[name], queries, _K))
            else:
                took["single_ms"] += single_ms(searcher, queries, _K)
            took["batch_ms"].append(batch_ms(searcher, queries, _K))
    for name, searcher in searchers.items():
        recall = recall_at_k(searcher.search, queries, nearest, lambda rows: vectors[rows])
        found[name]["recall_of_sessions"] = recall
        found[name] = summary(found[name])
    return found


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """Medians in place of the single times, and the slowest hundredth."""
    short: dict[str, Any] = {}
    for name, value in found.items():
        if not isinstance(value, list):
            short[name] = round(float(value), 5)
            continue
        short[name] = round(median(value), 5)
        if name.endswith("single_ms"):
            short[name.replace("_ms", "_p99_ms")] = round(float(np.percentile(value, 99)), 5)
    return short


def _import_all(name: str) -> None:
    """What a library itself takes is not the index's."""
    load_faiss()
    VectorIndex.build([np.eye(32, dtype=np.float32)]).search(np.eye(32, dtype=np.float32)[:1], 1)
    if name == "LanceDB IVF_PQ":
        import lancedb  # noqa: F401


def _resident() -> int:
    """Bytes of this process that are its own, not a file's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise OSError("this system does not say how much memory a process takes")


def table(report: dict[str, Any]) -> str:
    """The report as tables."""
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
    return markdown_table(columns, [_row(name, one) for name, one in size["engines"].items()])


def _row(name: str, one: dict[str, Any]) -> tuple[str, ...]:
    bare = one.get("bare_single_ms")
    label = f"**auto: {one['kind']}**" if name == "auto" else name
    breadth = f" ({one['breadth']})" if one["breadth"] > 1 else ""
    return (
        label + breadth,
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


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(f"python -m benchmarks.{NAME}", description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path, metavar="HOME", nargs="?")
    parser.add_argument("--sizes", type=int, nargs="+", default=[30_000, 300_000, 1_000_000])
    parser.add_argument("--engines", nargs="+", default=[*OURS, *OTHERS], choices=[*OURS, *OTHERS])
    parser.add_argument("--without", nargs="+", default=[], metavar="SIZE:ENGINE", help="not this engine at this size")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--build-only", action="store_true", help="build what is not there, and time nothing")
    parser.add_argument("--out", type=Path, help="where to write the report")
    parser.add_argument("--show", type=Path, metavar="FILE", help="only the table of a kept report")
    parser.add_argument("--child", nargs=3, metavar=("STEP", "SIZE", "ENGINE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        what, size, name = options.child
        shop = TrainedShop(options.home)
        print(json.dumps({"build": build, "tune": tune}[what](shop, int(size), name)))
        return
    if options.build_only:
        measure(options)
        return
    print(table(load_or_measure(options, measure)))


if __name__ == "__main__":
    main()
