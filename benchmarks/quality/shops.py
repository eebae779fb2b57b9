"""Does the default recipe answer better than counting, on a shop of any size, and what does it take?

    python -m benchmarks.quality.shops --data DIR [--sessions N] [--init CHECKPOINT] [--seeds 0 1 2]

For each seed `pretrain`, `finetune nip` and `evaluate nip` run as a user types them, each in a process of its own, with
one thread. benchmarks/quality/README.md says what the figures show and what they do not.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.command_line import runner_parser, show_or_measure
from benchmarks.quality.commands import Commands, cost_table, measure_seeds
from benchmarks.report import markdown_table, report_header

_METRICS = ("hit@10", "mrr@10", "ndcg@10")


def one_seed(corpus: Path, home: Path, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds and peak megabytes of each command, and the rows of `evaluate`."""
    pretrained, model = home / "pretrained", home / "model"
    commands = Commands(f"{corpus.name}, seed {seed}")
    init: list[str | int] = ["--init", options.init, "--max-steps", 0] if options.init else []
    split: list[str | float] = ["--split", options.split, "--holdout", options.holdout]
    commands.run("pretrain", "pretrain", "--corpus", corpus, "--out", pretrained, "--seed", seed, *split, *init)
    training = ["--model", pretrained, "--corpus", corpus, "--seed", seed, *options.finetune]
    commands.run("finetune", "finetune", "nip", "--out", model, *training)
    examples: list[str | int] = ["--max-examples", 1_000_000, "--seed", seed, "--format", "json"]
    results = json.loads(commands.run("evaluate", "evaluate", "nip", "--model", model, "--corpus", corpus, *examples))
    record = json.loads((model / "training.json").read_text("utf-8"))
    counts = json.loads((model / "counts.json").read_text("utf-8"))
    names = ("step", "refit_steps", "validation_hit_at_10")
    best = {name: value for name, value in record["finetuning"].items() if name in names}
    return {"seed": seed, "cost": commands.cost, "best": best, "counts": counts, "results": results}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report."""
    settings = {
        "data": options.data.name,
        "sessions": options.sessions,
        "split": options.split,
        "holdout": options.holdout,
        "init": Path(options.init).name if options.init else None,
        "finetune": options.finetune,
        "threads": 1,
    }
    report = report_header(f"shops_{options.data.name}", settings, packages=("scipy",))
    return measure_seeds(report, options, one_seed)


def table(report: dict[str, Any]) -> str:
    """Means over the seeds, and the largest p-value of a row's hit@10 against the first row."""
    runs = report["runs"]
    cells = []
    for same in zip(*(run["results"]["rows"] for run in runs), strict=True):
        means = [mean(row["metrics"][metric]["value"] for row in same) for metric in _METRICS]
        p = [row["p_values"]["hit@10"] for row in same if row["p_values"]]
        cells.append((same[0]["row"], *(f"{value:.4f}" for value in means), f"{max(p):.4f}" if p else ""))
    quality = markdown_table(("row", *_METRICS, "largest p of hit@10"), cells)
    questions = runs[0]["results"]["examples"]
    title = f"{report['settings']['data']}, {questions} questions, {len(runs)} seeds"
    return f"{title}\n\n{quality}\n\n{cost_table(runs)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its tables; or print the tables of a saved one."""
    parser = runner_parser("quality.shops", __doc__, default_out="shops_DATA")
    add = parser.add_argument
    add("--data", type=Path, metavar="DIR", help="a corpus folder (docs/data.md)")
    add("--sessions", type=int, metavar="N", help="a shop of N of the sessions and the products in them; default: all")
    add("--init", metavar="DIR_OR_NAME", help="a checkpoint whose texts are read once; default: from scratch")
    add("--split", default="auto")
    add("--holdout", type=float, default=0.1, help="share of validation and test, half each")
    add("--seeds", type=int, nargs="+", default=[0])
    add("finetune", nargs="*", metavar="OPTION", help="options of finetune, after --")
    show_or_measure(parser, arguments, measure, table)


if __name__ == "__main__":
    main()
