"""Queries that come when they like: how long they take in one process as more and more of them come each second.

python -m benchmarks.retrieval.query_load HOME

HOME is what `trained_shop` makes. Requests are session JSON, answers are JSON of ten matches, and every
interaction was read before. They arrive at random, whether or not the one before is answered, and a latency counts
from when a request was to come: waiting for a free worker is in it. Beside it, one at a time and many in one call; and
all of it with threads that spin while they wait, as OpenMP's do by default, and with threads that sleep.
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
import torch

from benchmarks.command_line import load_or_measure
from benchmarks.report import machine, markdown_table, report_header
from benchmarks.retrieval.request_schedule import RequestSchedule, Seconds
from benchmarks.retrieval.trained_shop import TrainedShop
from indexer.index.faiss_factory import load_faiss
from indexer.search.retriever import Retriever
from ubm_embed.data.session import parse_session

NAME = "query_load"
# OpenMP reads it when it is loaded, so that each value needs a process of its own.
_POLICY, _UNSET = "OMP_WAIT_POLICY", "unset"
_K = 10
_WARM_UP = 64
# Workers have fallen behind, too, when the last answer comes so many times as late as the last request.
_LATE = 1.1

Answering = Callable[[Sequence[str]], list[str]]


@dataclass(frozen=True)
class Setting:
    """Who answers.

    Attributes:
        workers: threads of Python that take requests.
        threads: of PyTorch and FAISS, within a call of each worker.
        at_once: the most waiting requests that a worker answers in one call.
    """

    workers: int
    threads: int
    at_once: int = 1


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Each way of waiting in a process of its own; the report."""
    names = ("sessions", "rates", "seconds", "workers", "threads", "at_once", "together", "waiting", "seed")
    report = report_header(NAME, {name: getattr(options, name) for name in names}, packages=("faiss-cpu", "pylance"))
    report["waiting"] = {policy: _in_child(policy, options) for policy in options.waiting}
    return report


def _in_child(policy: str, options: argparse.Namespace) -> dict[str, Any]:
    others = {name: value for name, value in os.environ.items() if name != _POLICY}
    environment = others if policy == _UNSET else {**others, _POLICY: policy}
    spawn = multiprocessing.get_context("spawn")
    with patch.dict(os.environ, environment, clear=True), ProcessPoolExecutor(1, mp_context=spawn) as child:
        return child.submit(measure_here, options).result()


def measure_here(options: argparse.Namespace) -> dict[str, Any]:
    """One at a time, many in one call, and every rate, in this process."""
    shop = TrainedShop(options.home)
    retriever = Retriever.open(shop.store, device="cpu")
    documents = [json.dumps(document) for document in shop.sessions()[: options.sessions]]
    answering = _answering(retriever)
    for first in range(0, len(documents), _WARM_UP):
        answering(documents[first : first + _WARM_UP])
    settings = [Setting(*one) for one in dict.fromkeys(product(options.workers, options.threads, options.at_once))]
    sizes = list(product(dict.fromkeys(options.threads), options.together))
    return {
        "load_average": machine()["load_average"],
        "products": len(retriever.catalogue),
        "index": {"kind": retriever.version.kind, **retriever.version.parameters},
        "together": [together(answering, documents, *one, options.seconds) for one in sizes],
        "loads": list(_loads(answering, documents, settings, options)),
    }


def _answering(retriever: Retriever) -> Answering:
    """From the JSON of sessions to the JSON of their answers, in one call."""

    def answering(documents: Sequence[str]) -> list[str]:
        sessions = [parse_session(json.loads(document)) for document in documents]
        return [json.dumps(answer.to_dict()) for answer in retriever.recommend_many(sessions, _K)]

    return answering


def _compute_with(threads: int) -> None:
    """So many threads for what this thread of Python calls: OpenMP counts for each of its callers on their own."""
    torch.set_num_threads(threads)
    load_faiss().omp_set_num_threads(threads)


def together(answering: Answering, documents: Sequence[str], threads: int, size: int, seconds: float) -> dict[str, Any]:
    """One call after the other, of so many sessions each."""
    parts = [documents[first : first + size] for first in range(0, len(documents), size)]

    def work() -> list[float]:
        _compute_with(threads)
        answering(parts[-1])
        took: list[float] = []
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            started = time.perf_counter()
            answering(parts[len(took) % len(parts)])
            took.append(time.perf_counter() - started)
        return took

    with ThreadPoolExecutor(1) as one:
        took = one.submit(work).result()
    asked = sum(len(parts[call % len(parts)]) for call in range(len(took)))
    found = {"threads": threads, "size": size, "calls": len(took), "sessions_per_second": round(asked / sum(took), 1)}
    return found | _percentiles(np.array(took))


def _loads(
    answering: Answering, documents: Sequence[str], settings: Sequence[Setting], options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Every setting at a rate, then the next rate; none above one at which it fell behind."""
    behind: set[Setting] = set()
    for rate in sorted(options.rates):
        for setting in settings:
            if setting not in behind:
                found = under_load(
                    answering, documents, RequestSchedule.poisson(rate, options.seconds, options.seed), setting
                )
                behind |= {setting} if found["behind"] else set()
                print(f"{rate:g}/s, {_name(setting)}: {_cell(found)}", file=sys.stderr, flush=True)
                yield {"rate": rate, **asdict(setting), **found}


def under_load(
    answering: Answering, documents: Sequence[str], schedule: RequestSchedule, setting: Setting
) -> dict[str, Any]:
    """What became of these schedule; not of those that still wait when the workers have fallen behind."""
    ready = threading.Barrier(setting.workers, action=schedule.start, timeout=60)
    waited: list[Seconds] = []

    def work() -> None:
        _compute_with(setting.threads)
        answering(documents[: setting.at_once])
        ready.wait()
        while requests := schedule.take(setting.at_once):
            answering([documents[number % len(documents)] for number in requests])
            waited.append(schedule.waited(requests))

    with ThreadPoolExecutor(setting.workers) as workers:
        for worker in [workers.submit(work) for _ in range(setting.workers)]:
            worker.result()
    finished = schedule.seconds()
    return {
        "arrivals": len(schedule),
        "answered": schedule.taken,
        "behind": schedule.behind or finished > _LATE * schedule.end,
        "achieved": round(schedule.taken / finished, 1),
        "requests_a_call": round(schedule.taken / len(waited), 2),
        **_percentiles(np.concatenate(waited)),
    }


def _percentiles(seconds: Seconds) -> dict[str, float]:
    values = np.percentile(1000 * seconds, [50, 95, 99, 100]).tolist()
    return {name: round(value, 3) for name, value in zip(("p50_ms", "p95_ms", "p99_ms", "max_ms"), values, strict=True)}


def table(report: dict[str, Any]) -> str:
    """The report as two tables for each way of waiting."""
    return "\n\n".join(
        f"{_POLICY} {policy}, {found['products']:,} products\n\n{_together_table(found)}\n\n{_load_table(found)}"
        for policy, found in report["waiting"].items()
    )


def _together_table(found: dict[str, Any]) -> str:
    columns = ("sessions in a call, threads", "sessions/s", "p50 ms", "p95", "p99")
    rows = [
        (
            f"{one['size']}, {one['threads']}",
            f"{one['sessions_per_second']:,.0f}",
            *(f"{one[name]:.1f}" for name in ("p50_ms", "p95_ms", "p99_ms")),
        )
        for one in found["together"]
    ]
    return markdown_table(columns, rows)


def _load_table(found: dict[str, Any]) -> str:
    """Of each setting and rate p50, p95 and p99, or how many a second it answered when it fell behind."""
    rates = list(dict.fromkeys(one["rate"] for one in found["loads"]))
    cells: dict[Setting, dict[float, str]] = {}
    for one in found["loads"]:
        setting = Setting(one["workers"], one["threads"], one["at_once"])
        cells.setdefault(setting, {})[one["rate"]] = _cell(one)
    rows = [(_name(setting), *(by_rate.get(rate, "-") for rate in rates)) for setting, by_rate in cells.items()]
    return markdown_table(("workers x threads, at once", *(f"{rate:g}/s: p50, p95, p99" for rate in rates)), rows)


def _name(setting: Setting) -> str:
    return f"{setting.workers} x {setting.threads}, {setting.at_once}"


def _cell(load: dict[str, Any]) -> str:
    if load["behind"]:
        return f"behind, {load['achieved']:.0f}/s"
    return " ".join(f"{load[name]:.1f}" for name in ("p50_ms", "p95_ms", "p99_ms"))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    assert __doc__ is not None
    one_and_all = list(dict.fromkeys((1, os.cpu_count() or 1)))
    parser = argparse.ArgumentParser(f"python -m benchmarks.{NAME}", description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path, metavar="HOME", nargs="?")
    parser.add_argument("--rates", type=float, nargs="+", default=[50, 200, 400, 800], help="requests a second")
    parser.add_argument("--seconds", type=float, default=10, help="of schedule at each rate")
    parser.add_argument("--workers", type=int, nargs="+", default=one_and_all, help="threads that take requests")
    parser.add_argument("--threads", type=int, nargs="+", default=one_and_all, help="of PyTorch and FAISS in a call")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 32], help="most requests that a call answers")
    parser.add_argument("--together", type=int, nargs="+", default=[1, 8, 64, 512], help="sessions in a call")
    parser.add_argument("--waiting", nargs="+", default=[_UNSET, "passive"], help=f"values of {_POLICY}")
    parser.add_argument("--sessions", type=int, default=1024, help="different ones, asked again and again")
    parser.add_argument("--seed", type=int, default=0, help="of the schedule")
    parser.add_argument("--out", type=Path, help="where to write the report")
    parser.add_argument("--show", type=Path, metavar="FILE", help="only the table of a kept report")
    print(table(load_or_measure(parser.parse_args(arguments), measure)))


if __name__ == "__main__":
    main()
