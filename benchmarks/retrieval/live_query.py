"""How long does one query take, from the JSON of a session to the JSON of ten matches, and which step takes it?

python -m benchmarks.retrieval.live_query HOME

HOME is a folder of `trained_shop`. Each session is queried twice: cold, when the text encoder has to encode its
interactions, and warm, with all of them in the cache, as for the next event of a live session. Each step is timed where
it is called; the rest is "else". Encoder and search alone are timed for the same sessions.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.command_line import add_quick_option, load_or_measure, parse_with_quick, runner_parser
from benchmarks.report import markdown_table, report_header
from benchmarks.retrieval.trained_shop import TrainedShop
from indexer.search import retriever as retriever_module
from indexer.search.ranking import Rules
from indexer.search.resolution import resolve_sessions
from indexer.search.retriever import Retriever
from ubm_embed.data.session import parse_session

NAME = "live_query"
OLD_KEYS = {"first": "cold", "alone": "encode_and_search"}  # of reports before 2026-11-30
QUICK = {"sessions": 300}
_K = 10
_WARM_UP = 20
_READ, _LOOK_UP, _ENCODE, _SEARCH, _MATCHES, _WRITE = (
    "read JSON",
    "look up",
    "encode",
    "search",
    "matches",
    "write JSON",
)
_STEPS = (_READ, _LOOK_UP, _ENCODE, _SEARCH, _MATCHES, _WRITE)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report: every session is queried cold and warm."""
    torch.set_num_threads(options.threads)
    settings = {name: getattr(options, name) for name in ("sessions", "threads", "where", "explain")}
    report = report_header(NAME, settings, packages=("faiss-cpu", "pylance"))
    shop = TrainedShop(options.home)
    retriever = Retriever.open(shop.store, device="cpu")
    documents = [json.dumps(document) for document in shop.sessions()[: options.sessions + _WARM_UP]]
    rules = Rules(where=options.where)
    query = TimedQuery(retriever)
    for document in documents[-_WARM_UP:]:
        query.run(document, rules, explain=options.explain)
    documents = documents[:-_WARM_UP]
    report["products"] = len(retriever.catalogue)
    report["index"] = {"kind": retriever.version.kind, **retriever.version.parameters}
    report["cold"] = query.summary(documents, rules, explain=options.explain)
    report["warm"] = query.summary(documents, rules, explain=options.explain)
    report["encode_and_search"] = encode_and_search(retriever, documents)
    return report


class TimedQuery:
    """Queries a retriever and times the functions that it calls, which it replaces by timed ones."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self._times: dict[str, float] = defaultdict(float)
        retriever.embedder.embed_sessions = self._timed(_ENCODE, retriever.embedder.embed_sessions)  # type: ignore[method-assign]
        retriever.matcher.nearest = self._timed(_SEARCH, retriever.matcher.nearest)  # type: ignore[method-assign]
        retriever._answers = self._timed(_MATCHES, retriever._answers)  # type: ignore[method-assign]
        retriever_module.resolve_sessions = self._timed(_LOOK_UP, resolve_sessions)  # type: ignore[attr-defined]

    def run(self, document: str, rules: Rules, *, explain: bool) -> dict[str, float]:
        """Milliseconds of each step and of the whole query."""
        self._times.clear()
        started = time.perf_counter()
        session = self._timed(_READ, lambda: parse_session(json.loads(document)))()
        answer = self._retriever.recommend(session, _K, rules, explain=explain)
        self._timed(_WRITE, lambda: json.dumps(answer.to_dict()))()
        total = (time.perf_counter() - started) * 1000
        return {**self._times, "else": total - sum(self._times.values()), "all": total}

    def summary(self, documents: Sequence[str], rules: Rules, *, explain: bool) -> dict[str, dict[str, float]]:
        """The median, the 99th percentile and the share of the whole, for each step and for all."""
        times = [self.run(document, rules, explain=explain) for document in documents]
        whole = sum(one["all"] for one in times)
        steps = {}
        for step in (*_STEPS, "else", "all"):
            values = [one.get(step, 0.0) for one in times]
            p50, p99 = np.percentile(values, [50, 99])
            steps[step] = {
                "p50_ms": round(float(p50), 4),
                "p99_ms": round(float(p99), 4),
                "share": round(sum(values) / whole, 4),
            }
        return steps

    def _timed(self, step: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return call(*arguments, **options)
            finally:
                self._times[step] += (time.perf_counter() - started) * 1000

        return timed


def encode_and_search(retriever: Retriever, documents: Sequence[str]) -> dict[str, float]:
    """Percentiles of encoder and search alone, for sessions that were resolved before."""
    sessions = [parse_session(json.loads(document)) for document in documents]
    resolved = [one.session for one in resolve_sessions(sessions, retriever.catalogue) if one.fallback is None]
    times = []
    for session in resolved:
        started = time.perf_counter()
        retriever.index.search(retriever.embedder.embed_sessions([session]), _K)
        times.append((time.perf_counter() - started) * 1000)
    p50, p99 = np.percentile(times, [50, 99])
    return {"p50_ms": round(float(p50), 4), "p99_ms": round(float(p99), 4)}


def table(report: dict[str, Any]) -> str:
    """The table of a report, with the ratio to encoder and search alone."""
    rows = [
        (
            step,
            *(f"{report[cache][step][name]:.2f}" for cache in ("warm", "cold") for name in ("p50_ms", "p99_ms")),
            f"{100 * report['warm'][step]['share']:.0f}%",
        )
        for step in (*_STEPS, "else", "all")
    ]
    columns = (f"{report['products']:,} products, ms", "warm p50", "p99", "cold p50", "p99", "share, warm")
    core = report["encode_and_search"]["p50_ms"]
    ratio = report["warm"]["all"]["p50_ms"] / core
    line = f"Encoder and search alone: p50 {core:.2f} ms; the whole is {ratio:.2f} times that."
    return f"{markdown_table(columns, rows)}\n\n{line}"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = runner_parser(f"retrieval.{NAME}", __doc__)
    add_quick_option(parser, QUICK)
    add = parser.add_argument
    add("home", type=Path, metavar="HOME", nargs="?", help="a folder of benchmarks.retrieval.trained_shop")
    add("--sessions", type=int, default=2000)
    add("--threads", type=int, default=torch.get_num_threads(), help="threads of the session encoder")
    add("--where", help="a condition that every match must satisfy")
    add("--explain", action="store_true", help="compute the reasons of each match")
    return parse_with_quick(parser, QUICK, arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its table; or print the table of a saved one."""
    print(table(load_or_measure(parse(arguments), measure, OLD_KEYS)))


if __name__ == "__main__":
    main()
