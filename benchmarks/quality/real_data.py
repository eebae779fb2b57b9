"""From a raw folder to answers, with the commands a user types: python -m benchmarks.quality.real_data --data DIR

Ingest, pretrain, evaluate, build-index and query run one after the other, each in a process of its own and timed as a
whole. See benchmarks/README.md for what the figures say and what they do not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.report import markdown_table, report_header, write_report
from ubm_embed.data.corpus import INTERACTIONS_FILE, PRODUCTS_FILE

# A shop of some ten thousand sessions on two cores. Anything after `--` is given to pretrain beside it.
_PRETRAIN = ("--holdout", "0.2", "--learning-rate", "1e-3", "--session-learning-rate", "1e-4")
_ASKED = 100
_METRICS = ("hit@10", "mrr@10", "hit@20", "mrr@20")


def main() -> None:
    """Run it, write the report, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="a corpus folder as docs/data.md describes it")
    source.add_argument("--show", type=Path, metavar="FILE", help="only print the table of a kept report")
    parser.add_argument("--out", type=Path, help="where to write the report; default: results/real_data_NAME.json")
    parser.add_argument("pretrain", nargs="*", help="options of pretrain, after --")
    options = parser.parse_args()
    if options.show is not None:
        print(table(json.loads(options.show.read_text("utf-8"))))
        return
    training = [*_PRETRAIN, *options.pretrain]
    settings = {"data": options.data.name, "pretrain": training}
    report = report_header(f"real_data_{options.data.name}", settings, packages=("lancedb", "faiss-cpu"))
    with tempfile.TemporaryDirectory() as folder:
        report |= whole_way(options.data, Path(folder), training)
    file = write_report(report, options.out)
    print(table(report))
    print(f"\n{file}")


def whole_way(data: Path, home: Path, training: list[str]) -> dict[str, Any]:
    """Seconds of every command, the evaluation, the counts of ingest and the last steps of training."""
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
        if len(lines) == _ASKED:
            break
    return "\n".join(lines)


def table(report: dict[str, Any]) -> str:
    """The report's figures for benchmarks/README.md."""
    questions, rows = ranking(report["results"])
    cells = [(name, *(f"{metrics[metric]:.4f}" for metric in _METRICS)) for name, metrics in rows]
    scores = markdown_table(("model", *(metric.replace("mrr", "MRR") for metric in _METRICS)), cells)
    times = markdown_table(
        ("command", "seconds"), [(name, f"{value:.1f}") for name, value in report["seconds"].items()]
    )
    return f"{report['settings']['data']}, {questions} questions\n\n{scores}\n\n{times}"


def ranking(results: Any) -> tuple[int, list[tuple[str, dict[str, float]]]]:
    """How many questions `evaluate nip` asked, and of each row its name and metrics.

    Reports of before there were intervals have a list of scorers instead of the whole evaluation.
    """
    if isinstance(results, list):
        by_k = ((row["scorer"], {"hit": row["hit"], "mrr": row["mrr"]}) for row in results)
        rows = [
            (name, {f"{measure}@{k}": value for measure, values in measures.items() for k, value in values.items()})
            for name, measures in by_k
        ]
        return results[0]["questions"], rows
    rows = [(row["row"], {name: one["value"] for name, one in row["metrics"].items()}) for row in results["rows"]]
    return results["questions"], rows


if __name__ == "__main__":
    main()
