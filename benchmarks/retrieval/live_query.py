"""From the JSON of a session to the JSON of ten matches, one at a time: how long it takes, and what takes it.

python -m benchmarks.retrieval.live_query HOME

HOME is what `trained_shop` makes. Each session is asked twice: first when nobody has read its interactions
yet, which the text encoder then has to, and then warm, as the next event of a live session finds it. Steps are timed
where they are called; what is left is "else". Beside it, encoder and search alone, for the same sessions.
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

from benchmarks.command_line import load_or_measure
from benchmarks.report import markdown_table, report_header
from benchmarks.retrieval.trained_shop import TrainedShop
from indexer.search import resolution as readable
from indexer.search import retriever as retrieval
from indexer.search.ranking import Rules
from indexer.search.retriever import Retriever
from ubm_embed.data.session import parse_session

NAME = "live_query"
_K = 10
_WARM_UP = 20
# What is timed, by where it is called.
_READ, _LOOK_UP, _ENCODE, _SEARCH, _SHOW, _WRITE = "read JSON", "look up", "encode", "search", "matches", "write JSON"
_STEPS = (_READ, _LOOK_UP, _ENCODE, _SEARCH, _SHOW, _WRITE)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Ask every session; the report."""
    torch.set_num_threads(options.threads)
    settings = {name: getattr(options, name) for name in ("sessions", "threads", "where", "explain")}
    report = report_header(NAME, settings, packages=("faiss-cpu", "pylance"))
    shop = TrainedShop(options.home)
    retriever = Retriever.open(shop.store, device="cpu")
    documents = [json.dumps(document) for document in shop.sessions()[: options.sessions + _WARM_UP]]
    rules = Rules(where=options.where)
    steps = Steps(retriever)
    for document in documents[-_WARM_UP:]:
        steps.ask(document, rules, explain=options.explain)
    documents = documents[:-_WARM_UP]
    report["products"] = len(retriever.catalogue)
    report["index"] = {"kind": retriever.version.kind, **retriever.version.parameters}
    report["first"] = steps.measured(documents, rules, explain=options.explain)
    report["warm"] = steps.measured(documents, rules, explain=options.explain)
    report["alone"] = alone(retriever, documents)
    return report


class Steps:
    """Asks a retriever and times what it calls."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self._took: dict[str, float] = defaultdict(float)
        retriever.embedder.embed_sessions = self._timed(_ENCODE, retriever.embedder.embed_sessions)  # type: ignore[method-assign]
        retriever.matcher.nearest = self._timed(_SEARCH, retriever.matcher.nearest)  # type: ignore[method-assign]
        retriever._answers = self._timed(_SHOW, retriever._answers)  # type: ignore[method-assign]
        retrieval.resolve_sessions = self._timed(_LOOK_UP, readable.resolve_sessions)  # type: ignore[attr-defined]

    def ask(self, document: str, rules: Rules, *, explain: bool) -> dict[str, float]:
        """Milliseconds of each step and of all."""
        self._took.clear()
        started = time.perf_counter()
        session = self._timed(_READ, lambda: parse_session(json.loads(document)))()
        answer = self._retriever.recommend(session, _K, rules, explain=explain)
        self._timed(_WRITE, lambda: json.dumps(answer.to_dict()))()
        total = (time.perf_counter() - started) * 1000
        return {**self._took, "else": total - sum(self._took.values()), "all": total}

    def measured(self, documents: Sequence[str], rules: Rules, *, explain: bool) -> dict[str, dict[str, float]]:
        """Of each step and of all: the median, the 99th percentile, and the share of the whole."""
        asked = [self.ask(document, rules, explain=explain) for document in documents]
        whole = sum(one["all"] for one in asked)
        found = {}
        for step in (*_STEPS, "else", "all"):
            values = [one.get(step, 0.0) for one in asked]
            p50, p99 = np.percentile(values, [50, 99])
            found[step] = {
                "p50_ms": round(float(p50), 4),
                "p99_ms": round(float(p99), 4),
                "share": round(sum(values) / whole, 4),
            }
        return found

    def _timed(self, step: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return call(*arguments, **options)
            finally:
                self._took[step] += (time.perf_counter() - started) * 1000

        return timed


def alone(retriever: Retriever, documents: Sequence[str]) -> dict[str, float]:
    """Encoder and search, given what they need: sessions that were looked up before."""
    sessions = [parse_session(json.loads(document)) for document in documents]
    read = [one.session for one in readable.resolve_sessions(sessions, retriever.catalogue) if one.fallback is None]
    took = []
    for session in read:
        started = time.perf_counter()
        retriever.index.search(retriever.embedder.embed_sessions([session]), _K)
        took.append((time.perf_counter() - started) * 1000)
    p50, p99 = np.percentile(took, [50, 99])
    return {"p50_ms": round(float(p50), 4), "p99_ms": round(float(p99), 4)}


def table(report: dict[str, Any]) -> str:
    """The report as a table, and a line."""
    rows = [
        (
            step,
            *(f"{report[when][step][number]:.2f}" for when in ("warm", "first") for number in ("p50_ms", "p99_ms")),
            f"{100 * report['warm'][step]['share']:.0f}%",
        )
        for step in (*_STEPS, "else", "all")
    ]
    columns = (f"{report['products']:,} products, ms", "warm p50", "p99", "first p50", "p99", "share, warm")
    ratio = report["warm"]["all"]["p50_ms"] / report["alone"]["p50_ms"]
    line = f"Encoder and search alone: p50 {report['alone']['p50_ms']:.2f} ms; the whole is {ratio:.2f} times that."
    return f"{markdown_table(columns, rows)}\n\n{line}"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(f"python -m benchmarks.{NAME}", description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path, metavar="HOME", nargs="?")
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the session encoder")
    parser.add_argument("--where", help="a condition that every match satisfies")
    parser.add_argument("--explain", action="store_true")
    parser.add_argument("--out", type=Path, help="where to write the report")
    parser.add_argument("--show", type=Path, metavar="FILE", help="only the table of a kept report")
    print(table(load_or_measure(parser.parse_args(arguments), measure)))


if __name__ == "__main__":
    main()
