"""How long does a query take in one process as more of them arrive each second?

python -m benchmarks.retrieval.query_load HOME

HOME is a folder of `trained_shop`. Requests are session JSON, answers are JSON of ten matches, and all interactions are
in the encoder's cache. In the open loop requests arrive at random, whether or not the previous ones are answered, and a
latency runs from the arrival, so that waiting for a free worker counts. In the closed loop one call of several sessions
follows the other. Both run with threads that spin while they wait, OpenMP's default, and with threads that sleep.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.command_line import load_or_measure, runner_parser
from benchmarks.report import machine, markdown_table, report_header
from benchmarks.retrieval.request_schedule import RequestSchedule, Seconds
from benchmarks.retrieval.shop_home import TrainedShop
from indexer.index.faiss_factory import load_faiss
from indexer.search.retriever import Retriever
from ubm_embed.data.session import parse_session

NAME = "query_load"
# Reports before 2026-11-30 -> today's.
OLD_KEYS = {
    "waiting": "wait_policies",
    "together": "closed_loop",
    "loads": "open_loop",
    "behind": "overloaded",
    "at_once": "max_batch",
}
# OpenMP reads this variable when it is loaded, so each value needs its own process.
_POLICY, _UNSET = "OMP_WAIT_POLICY", "unset"
_K = 10
_WARM_UP = 64
# Workers are also overloaded if the last answer comes later than this factor times the last arrival.
_MAX_DELAY = 1.1

Answerer = Callable[[Sequence[str]], list[str]]


@dataclass(frozen=True)
class Setting:
    """The workers that answer requests.

    Attributes:
        workers: Python threads that take requests.
        threads: of FAISS in a call of each worker; the encoder has one.
        max_batch: the most waiting requests that a worker answers in one call.
    """

    workers: int
    threads: int
    max_batch: int = 1


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report, with each wait policy measured in its own process."""
    names = ("sessions", "rates", "seconds", "workers", "threads", "max_batch", "batch_sizes", "wait_policies", "seed")
    report = report_header(NAME, {name: getattr(options, name) for name in names}, packages=("faiss-cpu", "pylance"))
    report["wait_policies"] = {policy: _in_child(policy, options) for policy in options.wait_policies}
    return report


def _in_child(policy: str, options: argparse.Namespace) -> dict[str, Any]:
    others = {name: value for name, value in os.environ.items() if name != _POLICY}
    environment = others if policy == _UNSET else {**others, _POLICY: policy}
    spawn = multiprocessing.get_context("spawn")
    with patch.dict(os.environ, environment, clear=True), ProcessPoolExecutor(1, mp_context=spawn) as child:
        return child.submit(measure_here, options).result()


def measure_here(options: argparse.Namespace) -> dict[str, Any]:
    """The closed loop for every batch size, and the open loop for every rate, in this process."""
    shop = TrainedShop(options.home)
    retriever = Retriever.open(shop.store, device="cpu")
    documents = [json.dumps(document) for document in shop.sessions()[: options.sessions]]
    answer = answerer(retriever)
    for first in range(0, len(documents), _WARM_UP):
        answer(documents[first : first + _WARM_UP])
    settings = [Setting(*one) for one in dict.fromkeys(product(options.workers, options.threads, options.max_batch))]
    sizes = list(product(dict.fromkeys(options.threads), options.batch_sizes))
    return {
        "load_average": machine()["load_average"],
        "products": len(retriever.catalogue),
        "index": {"kind": retriever.version.kind, **retriever.version.parameters},
        "closed_loop": [closed_loop(answer, documents, *one, options.seconds) for one in sizes],
        "open_loop": list(_open_loops(answer, documents, settings, options)),
    }


def answerer(retriever: Retriever) -> Answerer:
    """A function from the JSON of sessions to the JSON of their answers, in one call."""

    def answer(documents: Sequence[str]) -> list[str]:
        sessions = [parse_session(json.loads(document)) for document in documents]
        return [json.dumps(one.to_dict()) for one in retriever.recommend_many(sessions, _K)]

    return answer


def _set_threads(threads: int) -> None:
    """Set the threads of FAISS for calls of this Python thread: OpenMP counts them for each caller."""
    load_faiss().omp_set_num_threads(threads)


def closed_loop(
    answer: Answerer,
    documents: Sequence[str],
    threads: int,
    size: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Sessions a second and latencies of one call after the other, each with `size` sessions."""
    batches = [documents[first : first + size] for first in range(0, len(documents), size)]

    def work() -> list[float]:
        _set_threads(threads)
        answer(batches[-1])
        latencies: list[float] = []
        end = clock() + seconds
        while clock() < end:
            started = clock()
            answer(batches[len(latencies) % len(batches)])
            latencies.append(clock() - started)
        return latencies

    with ThreadPoolExecutor(1) as executor:
        latencies = executor.submit(work).result()
    sessions = sum(len(batches[call % len(batches)]) for call in range(len(latencies)))
    rate = round(sessions / sum(latencies), 1)
    figures = {"threads": threads, "size": size, "calls": len(latencies), "sessions_per_second": rate}
    return figures | _percentiles(np.array(latencies))


def _open_loops(
    answer: Answerer, documents: Sequence[str], settings: Sequence[Setting], options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Every setting at a rate, then the next rate; a setting is left out above a rate that overloads it."""
    overloaded: set[Setting] = set()
    for rate in sorted(options.rates):
        for setting in settings:
            if setting in overloaded:
                continue
            figures = open_loop(
                answer, documents, RequestSchedule.poisson(rate, options.seconds, options.seed), setting
            )
            if figures["overloaded"]:
                overloaded.add(setting)
            print(f"{rate:g}/s, {_name(setting)}: {_cell(figures)}", file=sys.stderr, flush=True)
            yield {"rate": rate, **asdict(setting), **figures}


def open_loop(
    answer: Answerer, documents: Sequence[str], schedule: RequestSchedule, setting: Setting
) -> dict[str, Any]:
    """Latencies of scheduled requests, without those that still wait when the workers are overloaded."""
    ready = threading.Barrier(setting.workers, action=schedule.start, timeout=60)
    latencies: list[Seconds] = []

    def work() -> None:
        _set_threads(setting.threads)
        answer(documents[: setting.max_batch])
        ready.wait()
        while requests := schedule.take(setting.max_batch):
            answer([documents[number % len(documents)] for number in requests])
            latencies.append(schedule.latencies(requests))

    with ThreadPoolExecutor(setting.workers) as executor:
        for worker in [executor.submit(work) for _ in range(setting.workers)]:
            worker.result()
    finished = schedule.seconds()
    return {
        "arrivals": len(schedule),
        "answered": schedule.taken,
        "overloaded": schedule.overloaded or finished > _MAX_DELAY * schedule.end,
        "achieved": round(schedule.taken / finished, 1),
        "requests_a_call": round(schedule.taken / len(latencies), 2),
        **_percentiles(np.concatenate(latencies)),
    }


def _percentiles(seconds: Seconds) -> dict[str, float]:
    values = np.percentile(1000 * seconds, [50, 95, 99, 100]).tolist()
    return {name: round(value, 3) for name, value in zip(("p50_ms", "p95_ms", "p99_ms", "max_ms"), values, strict=True)}


def table(report: dict[str, Any]) -> str:
    """Two tables for each wait policy: the closed and the open loop."""
    return "\n\n".join(
        f"{_POLICY} {policy}, {figures['products']:,} products\n\n{_closed_table(figures)}\n\n{_open_table(figures)}"
        for policy, figures in report["wait_policies"].items()
    )


def _closed_table(figures: dict[str, Any]) -> str:
    columns = ("sessions in a call, threads", "sessions/s", "p50 ms", "p95", "p99")
    rows = [
        (
            f"{one['size']}, {one['threads']}",
            f"{one['sessions_per_second']:,.0f}",
            *(f"{one[name]:.1f}" for name in ("p50_ms", "p95_ms", "p99_ms")),
        )
        for one in figures["closed_loop"]
    ]
    return markdown_table(columns, rows)


def _open_table(figures: dict[str, Any]) -> str:
    """p50, p95 and p99 of each setting and rate, or the rate that an overloaded setting achieved."""
    rates = list(dict.fromkeys(one["rate"] for one in figures["open_loop"]))
    cells: dict[Setting, dict[float, str]] = {}
    for one in figures["open_loop"]:
        setting = Setting(one["workers"], one["threads"], one["max_batch"])
        cells.setdefault(setting, {})[one["rate"]] = _cell(one)
    rows = [(_name(setting), *(by_rate.get(rate, "-") for rate in rates)) for setting, by_rate in cells.items()]
    return markdown_table(("workers x threads, max batch", *(f"{rate:g}/s: p50, p95, p99" for rate in rates)), rows)


def _name(setting: Setting) -> str:
    return f"{setting.workers} x {setting.threads}, {setting.max_batch}"


def _cell(figures: dict[str, Any]) -> str:
    if figures["overloaded"]:
        return f"overloaded, {figures['achieved']:.0f}/s"
    return " ".join(f"{figures[name]:.1f}" for name in ("p50_ms", "p95_ms", "p99_ms"))


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    counts = list(dict.fromkeys((1, os.cpu_count() or 1)))
    parser = runner_parser(f"retrieval.{NAME}", __doc__)
    add = parser.add_argument
    add("home", type=Path, metavar="HOME", nargs="?", help="a folder of benchmarks.retrieval.trained_shop")
    add("--rates", type=float, nargs="+", default=[50, 200, 400, 800], help="requests a second")
    add("--seconds", type=float, default=10, help="duration of each measurement")
    add("--workers", type=int, nargs="+", default=counts, help="Python threads that take requests")
    add("--threads", type=int, nargs="+", default=counts, help="threads of FAISS in a call")
    add("--max-batch", type=int, nargs="+", default=[1, 32], help="the most requests of a call in the open loop")
    add("--batch-sizes", type=int, nargs="+", default=[1, 8, 64, 512], help="sessions of a call in the closed loop")
    add("--wait-policies", nargs="+", default=[_UNSET, "passive"], help=f"values of {_POLICY}")
    add("--sessions", type=int, default=1024, help="distinct sessions, which are repeated")
    add("--seed", type=int, default=0, help="of the arrivals")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its tables; or print the tables of a saved one."""
    print(table(load_or_measure(parse(arguments), measure, OLD_KEYS)))


if __name__ == "__main__":
    main()
