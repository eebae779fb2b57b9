"""How good are answers after pre-training alone, and how long does the way there take, with the commands of a user?

    python -m benchmarks.quality.real_data --data DIR [-- OPTION_OF_PRETRAIN ...]

Ingest, pretrain, evaluate, build-index and query run one after the other, each in its own process and timed as a whole.
benchmarks/quality/README.md says what the figures show and what they do not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.command_line import runner_parser, show_or_measure
from benchmarks.report import markdown_table, report_header
from ubm_embed.data.corpus import INTERACTIONS_FILE, PRODUCTS_FILE

# For a shop of some ten thousand sessions on two cores; options after `--` are added.
_PRETRAIN = ("--holdout", "0.2", "--learning-rate", "1e-3", "--session-learning-rate", "1e-4")
_QUERIES = 100
_METRICS = ("hit@10", "mrr@10", "hit@20", "mrr@20")


def whole_way(data: Path, home: Path, training: list[str]) -> dict[str, Any]:
    """The measured part of the report: seconds of each command, evaluation, counts of ingest, last losses."""
    corpus, model, store = home / "corpus", home / "model", home / "store"
    seconds: dict[str, float] = {}

    def step(*arguments: str | Path, stdin: str | None = None) -> str:
        started = time.perf_counter()
        print(f"$ ubm-embed {' '.join(map(str, arguments))}", file=sys.stderr, flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "cli", *map(str, arguments)],
            input=stdin,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        seconds[str(arguments[0])] = round(time.perf_counter() - started, 1)
        return done.stdout

    step("ingest", data, "--from", "native", "--out", corpus, "--report", home / "ingest.json")
    step("pretrain", "--corpus", corpus, "--out", model, *training)
    results = json.loads(step("evaluate", "nip", "--model", model, "--corpus", corpus, "--format", "json"))
    products, interactions = corpus / PRODUCTS_FILE, corpus / INTERACTIONS_FILE
    step("build-index", "--model", model, "--products", products, "--interactions", interactions, "--store", store)
    answers = step("query", "--session", "-", "--store", store, "--format", "jsonl", stdin=_sessions(interactions))
    record = json.loads((model / "training.json").read_text("utf-8"))
    return {
        "seconds": seconds,
        "results": results,
        "answers": [json.loads(line)["took_ms"] for line in answers.splitlines()],
        "ingest": json.loads((home / "ingest.json").read_text("utf-8")),
        "last_steps": record["last_steps"],
    }


def _sessions(interactions: Path) -> str:
    """The first sessions of a corpus as JSON Lines."""
    frame = pl.read_parquet(interactions, columns=["session_id", "action", "product_id", "query"])
    lines = []
    for (session_id,), rows in frame.group_by("session_id", maintain_order=True):
        entries = [
            {name: value for name, value in row.items() if value is not None}
            for row in rows.drop("session_id").iter_rows(named=True)
        ]
        lines.append(json.dumps({"session_id": session_id, "interactions": entries}))
        if len(lines) == _QUERIES:
            break
    return "\n".join(lines)


def table(report: dict[str, Any]) -> str:
    """The tables of a report."""
    questions, rows = ranking(report["results"])
    cells = [(name, *(f"{metrics[metric]:.4f}" for metric in _METRICS)) for name, metrics in rows]
    scores = markdown_table(("model", *(metric.replace("mrr", "MRR") for metric in _METRICS)), cells)
    times = markdown_table(
        ("command", "seconds"), [(name, f"{value:.1f}") for name, value in report["seconds"].items()]
    )
    return f"{report['settings']['data']}, {questions} questions\n\n{scores}\n\n{times}"


def ranking(results: Any) -> tuple[int, list[tuple[str, dict[str, float]]]]:
    """The number of examples of `evaluate nip`, and the name and metrics of each row.

    Reports from before there were intervals have a list of scorers in place of the evaluation.
    """
    if isinstance(results, list):
        by_k = ((row["scorer"], {"hit": row["hit"], "mrr": row["mrr"]}) for row in results)
        rows = [
            (name, {f"{measure}@{k}": value for measure, values in measures.items() for k, value in values.items()})
            for name, measures in by_k
        ]
        return results[0]["questions"], rows
    rows = [(row["row"], {name: one["value"] for name, one in row["metrics"].items()}) for row in results["rows"]]
    return results.get("examples", results.get("questions")), rows


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report."""
    training = [*_PRETRAIN, *options.pretrain]
    settings = {"data": options.data.name, "pretrain": training}
    report = report_header(f"real_data_{options.data.name}", settings, packages=("lancedb", "faiss-cpu"))
    with tempfile.TemporaryDirectory() as folder:
        return report | whole_way(options.data, Path(folder), training)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its tables; or print the tables of a saved one."""
    parser = runner_parser("quality.real_data", __doc__, default_out="real_data_DATA")
    parser.add_argument("--data", type=Path, metavar="DIR", help="a corpus folder (docs/data.md)")
    parser.add_argument("pretrain", nargs="*", metavar="OPTION", help="options of pretrain, after --")
    show_or_measure(parser, arguments, measure, table)


if __name__ == "__main__":
    main()
