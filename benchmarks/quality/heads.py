"""Does a head predict better than counting whether a purchase follows (PIP) or how much does (RLP)?

    python -m benchmarks.quality.heads --task pip|rlp --data DIR [--sessions N] [--seeds 0 1 2]

For each seed `pretrain`, `finetune` and `evaluate` run as a user types them, each in a process of its own, with one
thread. A seed also draws the cuts of the test sessions.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.command_line import load_or_measure, runner_parser
from benchmarks.quality.commands import Commands, cost_table, measure_seeds
from benchmarks.report import markdown_table, report_header
from ubm_embed.evaluation.task_metrics import higher_is_better, metric_label

_METRICS = {"pip": ("auroc", "f1"), "rlp": ("mae", "msle", "r2")}


def one_seed(corpus: Path, home: Path, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds and peak megabytes of each command, and the rows of `evaluate`."""
    pretrained, model = home / "pretrained", home / "model"
    commands = Commands(f"{corpus.name}, seed {seed}")
    split: list[str | float] = ["--split", options.split, "--holdout", options.holdout]
    commands.run("pretrain", "pretrain", "--corpus", corpus, "--out", pretrained, "--seed", seed, *split)
    training: list[str | Path | int] = ["--model", pretrained, "--corpus", corpus, "--seed", seed, *options.finetune]
    commands.run("finetune", "finetune", options.task, "--out", model, *training)
    questions: list[str | Path | int] = ["--model", model, "--corpus", corpus, "--seed", seed, "--format", "json"]
    results = json.loads(commands.run("evaluate", "evaluate", options.task, *questions))
    record = json.loads((model / "training.json").read_text("utf-8"))["finetuning"]
    best = {name: value for name, value in record.items() if name in ("step", "validation_loss")}
    return {"seed": seed, "cost": commands.cost, "best": best, "results": results}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report."""
    settings = {
        "task": options.task,
        "data": options.data.name,
        "sessions": options.sessions,
        "split": options.split,
        "holdout": options.holdout,
        "finetune": options.finetune,
        "threads": 1,
    }
    report = report_header(f"heads_{options.task}_{options.data.name}", settings, packages=("scikit-learn",))
    return measure_seeds(report, options, one_seed)


def table(report: dict[str, Any]) -> str:
    """Means over the seeds of values and intervals, how often the model is ahead, and the largest p-value."""
    runs, settings = report["runs"], report["settings"]
    metrics = _METRICS[settings["task"]]
    rows = [*zip(*(run["results"]["rows"] for run in runs), strict=True)]
    cells = [(same[0]["row"], *(part for name in metrics for part in _cells(rows[0], same, name))) for same in rows]
    names = [part for name in metrics for part in (metric_label(name), "UBM ahead (largest p)")]
    title = f"{settings['data']}, {settings['task']}, {runs[0]['results']['examples']} questions, {len(runs)} seeds"
    return f"{title}\n\n{markdown_table(('row', *names), cells)}\n\n{cost_table(runs)}"


def _cells(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]], metric: str) -> tuple[str, str]:
    value, low, high = (mean(row["metrics"][metric][part] for row in theirs) for part in ("value", "low", "high"))
    text = f"{value:.4f} ({low:.4f} to {high:.4f})"
    if theirs is ours:
        return text, ""
    sign = 1 if higher_is_better(metric) else -1
    pairs = [*zip(ours, theirs, strict=True)]
    ahead = sum(sign * (a["metrics"][metric]["value"] - b["metrics"][metric]["value"]) > 0 for a, b in pairs)
    p = max(row["p_values"][metric] for row in theirs)
    return text, f"{ahead} of {len(pairs)} ({p:.3f})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its tables; or print the tables of a saved one."""
    parser = runner_parser("quality.heads", __doc__, default_out="heads_TASK_DATA")
    add = parser.add_argument
    add("--task", choices=sorted(_METRICS))
    add("--data", type=Path, metavar="DIR", help="a corpus folder (docs/data.md)")
    add("--sessions", type=int, metavar="N", help="a shop of N of the sessions and the products in them; default: all")
    add("--split", default="auto")
    add("--holdout", type=float, default=0.2, help="share of validation and test, half each")
    add("--seeds", type=int, nargs="+", default=[0])
    add("finetune", nargs="*", metavar="OPTION", help="options of finetune, after --")
    options = parser.parse_args(arguments)
    if options.show is None and (options.data is None or options.task is None):
        parser.error("--show, or --data and --task are required")
    print(table(load_or_measure(options, measure)))


if __name__ == "__main__":
    main()
