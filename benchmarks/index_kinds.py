"""Which index answers fastest at the same recall: each of our kinds, what `auto` picks, and the libraries beside them.

python -m benchmarks.index_kinds HOME --sizes 30000 300000 1000000

HOME is what `benchmarks.trained_shop` makes: vectors of a trained model over the sample shop, of which the first so
many are taken, and vectors of sessions, which are the queries that are timed. Every index is tuned in the same way, to
the least effort that finds 0.99 of the exact ten nearest of 200 products, and stays in HOME once it is built. Then all
of a size are in memory together and are timed in turns.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.report import heading, kept_or_measured, markdown_table
from benchmarks.searchers import OTHERS, OURS, Ours, Searcher, Unwrapped
from benchmarks.trained_shop import TrainedShop
from indexer.index import Neighbours, VectorIndex
from indexer.indexes.choice import Questions
from indexer.indexes.faiss_engine import FaissEngine
from indexer.indexes.kinds import IndexForm
from indexer.indexes.loading import load_faiss
from indexer.recall import recall_of_positions
from ubm_embed.data.arrays import FloatArray

NAME = "index_kinds"
_K, _QUESTIONS = 10, 200
_RECALL = 0.99
_SINGLE, _BATCH = 200, 256
_SECONDS = 2.0
_WRAPPED = "without our wrapper"


@dataclass(frozen=True)
class Built:
    """What building an index took, and what it came to.

    Attributes:
        seconds, cpu_seconds: by the clock, and of all threads together.
        bytes_on_disk: of its files.
        breadth: to which it was tuned, None where it has none.
        recall: with it, on the products that it was tuned with.
        kind, parameters: of ours, as a manifest has them.
    """

    seconds: float
    cpu_seconds: float
    bytes_on_disk: int
    breadth: int | None
    recall: float
    kind: str | None = None
    parameters: dict[str, Any] | None = None


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure every size; the report."""
    settings = {name: getattr(options, name) for name in ("sizes", "engines", "rounds", "without")}
    packages = ("faiss-cpu", "hnswlib", "usearch", "lancedb", "pylance")
    report = heading(NAME, settings, packages=packages)
    report["sizes"] = [measure_size(TrainedShop(options.home), size, options) for size in options.sizes]
    return report


def measure_size(shop: TrainedShop, size: int, options: argparse.Namespace) -> dict[str, Any]:
    """Build what is not there, then time all of it."""
    left_out = {name for one in options.without for number, name in [one.split(":", 1)] if int(number) == size}
    names = [name for name in options.engines if name not in left_out]
    built, memory = {}, {}
    for name in names:
        built[name] = _built(shop, size, name)
        memory[name] = _in_child("load", shop, size, name)["bytes"]
    if options.build_only:
        return {"products": size}
    timed = time_in_turns(shop, size, built, options.rounds)
    engines = {name: asdict(built[name]) | {"bytes_in_memory": memory[name]} | timed[name] for name in names}
    return {"products": size, "engines": engines}


def folder_of(shop: TrainedShop, size: int, name: str) -> Path:
    """Where an index of a size stands."""
    return shop.home / "indexes" / str(size) / name.replace(" ", "_")


def _built(shop: TrainedShop, size: int, name: str) -> Built:
    record = folder_of(shop, size, name) / "built.json"
    if not record.is_file():
        shutil.rmtree(record.parent, ignore_errors=True)
        record.parent.mkdir(parents=True)
        made = _in_child("build", shop, size, name)
        print(f"{size:,} {name}: {made['seconds']:.0f} s, recall {made['recall']:.4f}", file=sys.stderr, flush=True)
        record.write_text(json.dumps(made))
    return Built(**json.loads(record.read_text()))


def _in_child(what: str, shop: TrainedShop, size: int, name: str) -> dict[str, Any]:
    """One step in a process of its own; what it says."""
    command = [sys.executable, "-m", f"benchmarks.{NAME}", str(shop.home), "--child", what, str(size), name]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def build(shop: TrainedShop, size: int, name: str) -> Built:
    """Build and tune one index."""
    vectors, folder = shop.vectors[:size], folder_of(shop, size, name)
    questions = product_questions(vectors)
    searcher = searcher_of(name, questions)
    started, cpu = time.perf_counter(), time.process_time()
    searcher.build(vectors, folder)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    searcher.load(folder)
    recall = tune(searcher, questions)
    trial = searcher.trial if isinstance(searcher, Ours) else None
    return Built(
        seconds=round(seconds, 2),
        cpu_seconds=round(cpu_seconds, 2),
        bytes_on_disk=sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        breadth=searcher.breadth if len(searcher.breadths) > 1 or trial else None,
        recall=recall,
        kind=trial.index.kind if trial else None,
        parameters=trial.to_parameters() if trial else None,
    )


def product_questions(vectors: FloatArray) -> Questions:
    """Some products and their exact nearest, as a store has them when it is made."""
    rows = np.unique(np.linspace(0, len(vectors) - 1, _QUESTIONS).astype(np.int64))
    queries = np.ascontiguousarray(vectors[rows])
    return Questions(queries, rows, exact(vectors, queries, _K + 1), lambda some: vectors[some], len(vectors))


def exact(vectors: FloatArray, queries: FloatArray, k: int) -> Neighbours:
    """The exact nearest: [B, D] -> [B, K]."""
    faiss = load_faiss()
    scores, positions = faiss.knn(queries, np.ascontiguousarray(vectors), k, metric=faiss.METRIC_INNER_PRODUCT)
    return Neighbours(scores, positions)


def searcher_of(name: str, questions: Questions) -> Searcher:
    """The searcher of a name."""
    return Ours(name, questions) if name in OURS else OTHERS[name]()


def tune(searcher: Searcher, questions: Questions) -> float:
    """Search as narrowly as the recall allows; the recall."""
    recall = 0.0
    for breadth in searcher.breadths:
        searcher.breadth = breadth
        recall = recall_of_positions(
            searcher.search(questions.queries, _K + 1),
            questions.queries,
            questions.nearest,
            questions.vectors,
            questions.own,
        )
        if recall >= _RECALL:
            break
    return recall


def loaded(shop: TrainedShop, size: int, name: str, built: Built) -> Searcher:
    """An index that was built, ready to search as it was tuned."""
    folder = folder_of(shop, size, name)
    if built.kind is not None:
        ours = Ours(name)
        ours.form = IndexForm.of_manifest(built.kind, built.parameters or {})
        ours.load(folder)
        return ours
    searcher = OTHERS[name]()
    searcher.load(folder)
    searcher.breadth = built.breadth or searcher.breadths[0]
    return searcher


def time_in_turns(shop: TrainedShop, size: int, built: dict[str, Built], rounds: int) -> dict[str, dict[str, Any]]:
    """Recall and milliseconds of each, for vectors of sessions; of ours also without the wrapper."""
    vectors, queries = shop.vectors[:size], shop.queries
    nearest = exact(vectors, queries, _K)
    searchers = {name: loaded(shop, size, name, one) for name, one in built.items()}
    bare = {
        name: Unwrapped(one.index, _K)
        for name, one in searchers.items()
        if isinstance(one, Ours) and one.index is not None and isinstance(one.index.engine, FaissEngine)
    }
    found: dict[str, dict[str, Any]] = {name: {"single_ms": [], "batch_ms": []} for name in searchers}
    for name in bare:
        found[name] |= {"bare_single_ms": [], "bare_batch_ms": []}
    for _ in range(rounds):
        for name, searcher in searchers.items():
            took = found[name]
            if name in bare:
                wrapped, unwrapped = pairs_ms(searcher, bare[name], queries)
                took["single_ms"] += wrapped
                took["bare_single_ms"] += unwrapped
                took["bare_batch_ms"].append(batch_ms(bare[name], queries))
            else:
                took["single_ms"] += single_ms(searcher, queries)
            took["batch_ms"].append(batch_ms(searcher, queries))
    for name, searcher in searchers.items():
        positions = searcher.search(queries, _K)
        found[name]["recall_of_sessions"] = recall_of_positions(positions, queries, nearest, lambda rows: vectors[rows])
        found[name] = summary(found[name])
    return found


def single_ms(searcher: Searcher, queries: FloatArray) -> list[float]:
    """Milliseconds of queries that come alone, as many as there is time for."""
    took: list[float] = []
    _warm(searcher, queries)
    until = time.perf_counter() + _SECONDS
    for query in queries[:_SINGLE]:
        took.append(_ms(searcher, query[None]))
        if time.perf_counter() > until:
            break
    return took


def pairs_ms(one: Searcher, other: Searcher, queries: FloatArray) -> tuple[list[float], list[float]]:
    """As `single_ms`, of two that take turns at each query: what they differ by is small."""
    took: tuple[list[float], list[float]] = ([], [])
    _warm(one, queries)
    until = time.perf_counter() + 2 * _SECONDS
    for number, query in enumerate(queries[:_SINGLE]):
        # The second to look finds its vectors in the caches, so each is the second as often. Each asks another query.
        pair = [(one, took[0], query), (other, took[1], queries[-1 - number])]
        for searcher, times, asked in pair if number % 2 else reversed(pair):
            times.append(_ms(searcher, asked[None]))
        if time.perf_counter() > until:
            break
    return took


def batch_ms(searcher: Searcher, queries: FloatArray) -> float:
    """Milliseconds of a query in a batch."""
    started = time.perf_counter()
    searcher.search(queries[:_BATCH], _K)
    return (time.perf_counter() - started) * 1000 / len(queries[:_BATCH])


def _warm(searcher: Searcher, queries: FloatArray) -> None:
    for query in queries[-5:]:
        searcher.search(query[None], _K)


def _ms(searcher: Searcher, query: FloatArray) -> float:
    started = time.perf_counter()
    searcher.search(query, _K)
    return (time.perf_counter() - started) * 1000


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


def memory(shop: TrainedShop, size: int, name: str) -> dict[str, Any]:
    """Bytes that an index keeps in memory once it has answered."""
    built, queries = _built(shop, size, name), shop.queries[:50].copy()
    _import_all(name)
    before = _resident()
    searcher = loaded(shop, size, name, built)
    for query in queries:
        searcher.search(query[None], _K)
    return {"bytes": _resident() - before}


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
    breadth = f" ({one['breadth']})" if one["breadth"] else ""
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
        made = asdict(build(shop, int(size), name)) if what == "build" else memory(shop, int(size), name)
        print(json.dumps(made))
        return
    if options.build_only:
        measure(options)
        return
    print(table(kept_or_measured(options, measure)))


if __name__ == "__main__":
    main()
