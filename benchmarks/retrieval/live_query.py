"""How long does one query take, from the JSON of a session to the JSON of ten matches, and which step takes it?

python -m benchmarks.retrieval.live_query HOME

HOME is a folder of `trained_shop`. Each session is queried twice: cold, when the text encoder has to encode its
interactions, and warm, with all of them in the cache, as for the next event of a live session. The model, the index and
the catalogue are timed where they are called; the rest is "else". OMP_NUM_THREADS sets the threads.
`benchmarks.retrieval.reader` has the whole, and compares it with what it was.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command_line import add_quick_option, load_or_measure, parse_with_quick, runner_parser
from benchmarks.report import markdown_table, report_header
from benchmarks.retrieval.shop_home import TrainedShop
from indexer.search.ranking import Rules
from indexer.search.retriever import Retriever
from ubm_embed.data.session import parse_session

NAME = "live_query"
OLD_KEYS = {"first": "cold", "alone": "encode_and_search"}  # of reports before 2026-11-30
QUICK = {"sessions": 300}
_K = 10
_WARM_UP = 20
_READ, _CATALOGUE, _ENCODE, _SEARCH, _WRITE = "read JSON", "catalogue", "encode", "search", "write JSON"
# Of reports before 2026-11-30: "look up" and "matches" were timed whole, with what they did beside the catalogue.
_STEPS = (_READ, "look up", _CATALOGUE, _ENCODE, _SEARCH, "matches", _WRITE, "else", "all")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report: every session is queried cold and warm."""
    settings = {name: getattr(options, name) for name in ("sessions", "where", "explain")}
    settings["threads"] = os.environ.get("OMP_NUM_THREADS", "all")
    report = report_header(NAME, settings, packages=("faiss-cpu", "onnxruntime", "pylance"))
    shop = TrainedShop(options.home)
    with Retriever.open(shop.store, device="cpu") as retriever:
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
    return report


class TimedQuery:
    """Queries a retriever and times what it calls: its model, its index and its catalogue, in place of their own."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self._times: dict[str, float] = defaultdict(float)
        calls = [(_ENCODE, retriever.embedder, "embed_sessions"), (_SEARCH, retriever.index, "search")]
        calls += [(_CATALOGUE, retriever.catalogue, name) for name in ("find", "products", "rows")]
        for step, owner, name in calls:
            setattr(owner, name, self._timed(step, getattr(owner, name)))

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
        for step in (step for step in _STEPS if any(step in one for one in times)):
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


def table(report: dict[str, Any]) -> str:
    """The table of a report."""
    rows = [
        (
            step,
            *(f"{report[cache][step][name]:.2f}" for cache in ("warm", "cold") for name in ("p50_ms", "p99_ms")),
            f"{100 * report['warm'][step]['share']:.0f}%",
        )
        for step in _STEPS
        if step in report["warm"]
    ]
    columns = (f"{report['products']:,} products, ms", "warm p50", "p99", "cold p50", "p99", "share, warm")
    return markdown_table(columns, rows)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = runner_parser(f"retrieval.{NAME}", __doc__)
    add_quick_option(parser, QUICK)
    add = parser.add_argument
    add("home", type=Path, metavar="HOME", nargs="?", help="a folder of benchmarks.retrieval.trained_shop")
    add("--sessions", type=int, default=2000)
    add("--where", help="a condition that every match must satisfy")
    add("--explain", action="store_true", help="compute the reasons of each match")
    return parse_with_quick(parser, QUICK, arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its table; or print the table of a saved one."""
    print(table(load_or_measure(parse(arguments), measure, OLD_KEYS)))


if __name__ == "__main__":
    main()
