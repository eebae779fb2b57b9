"""How fast does a log become a corpus, and a corpus token ids, and in how much memory?

Each step and its baseline, the code that one would write instead, take turns, each in its own process.
benchmarks/data/README.md says what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl

from benchmarks.command_line import add_corpus_options, load_or_measure, runner_parser, settings_of
from benchmarks.data.data_steps import BASELINE, OURS, STEPS
from benchmarks.report import markdown_table, report_header
from ubm_embed.data.corpus import INTERACTIONS_FILE, PRODUCTS_FILE
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.errors import QualityGateFailed

NAME = "data_speed"
LABELS = {
    "parquet": "ingest, Parquet",
    "longer": "ingest, Parquet, {times} x as long",
    "csv": "ingest, CSV",
    "jsonl": "ingest, JSON Lines",
    "open": "open a corpus",
    "vocabulary": "learn a vocabulary",
    "texts": "tokenize products",
    "tokenized": "tokenize a corpus",
    "equal": "find equal texts",
    "fingerprint": "fingerprint",
}
UNITS = dict.fromkeys(("vocabulary", "texts", "equal"), "texts")  # all others: interactions
# Names of steps and keys in reports before 2026-11-30 -> today's.
OLD_KEYS = {"other": BASELINE, "tokenised": "tokenized"}
BASELINES = {
    "jsonl": "a loop over json.loads",
    "vocabulary": "every text to the trainer",
    "texts": "transformers' fast tokenizer, padded",
    "equal": "a dictionary of rows",
}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report: raw figures of every step, round by round.

    Raises:
        QualityGateFailed: a step and its baseline have different results.
    """
    report = report_header(NAME, settings_of(options), packages=("transformers", "pyarrow"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report["corpus"] = prepare(folder, options)
        report["steps"] = {step: {variant: [] for variant in STEPS[step]} for step in options.steps}
        for number in range(options.rounds):
            for step in options.steps:
                _round(report["steps"][step], step, folder, number)
    return report


def prepare(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Write the input of the steps; returns its size, and the seconds for making a sample shop."""
    started = time.perf_counter()
    if options.corpus:
        shutil.copytree(options.corpus, folder / "corpus")
    else:
        write_sample_shop(folder / "corpus", products=options.products, sessions=options.sessions, seed=options.seed)
    made = time.perf_counter() - started
    log = pl.scan_parquet(folder / "corpus" / INTERACTIONS_FILE)
    log.sink_parquet(folder / "log.parquet")
    log.sink_csv(folder / "log.csv")
    log.sink_ndjson(folder / "log.jsonl")
    session = pl.col("session_id")
    copies = [log.with_columns(pl.concat_str(session, pl.lit(f" {copy}"))) for copy in range(options.times)]
    pl.concat(copies).sink_parquet(folder / "longer.parquet")
    counts = log.select(pl.len(), session.n_unique().alias("sessions")).collect(engine="streaming")
    products = pl.scan_parquet(folder / "corpus" / PRODUCTS_FILE).select(pl.len()).collect().item()
    sizes = {"products": products, "interactions": counts["len"].item(), "sessions": counts["sessions"].item()}
    return sizes if options.corpus else {**sizes, "seconds_to_make": made}


def _round(variants: dict[str, list[Any]], step: str, folder: Path, number: int) -> None:
    for variant, rounds in variants.items():
        rounds.append(_in_process(step, variant, folder))
    results = {rounds[-1]["result"] for rounds in variants.values()}
    if len(results) > 1 and "" not in results:
        raise QualityGateFailed(f"{step}: ours and {BASELINES[step]} differ: {' and '.join(sorted(results))}")
    seconds = ", ".join(f"{variant} {rounds[-1]['seconds']:.2f} s" for variant, rounds in variants.items())
    print(f"round {number}, {step}: {seconds}", file=sys.stderr, flush=True)


def _in_process(step: str, variant: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.data.data_steps", step, variant, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def table(report: dict[str, Any]) -> str:
    """The table of a report. Figures are medians over the rounds; "ours is faster" is the median of their ratios."""
    columns = (
        "step",
        "millions a minute",
        "s",
        "peak MB",
        "before it",
        "baseline",
        "s",
        "peak MB",
        "ours is faster",
    )
    return markdown_table(
        columns, [_row(step, variants, report["settings"]) for step, variants in report["steps"].items()]
    )


def _row(step: str, variants: dict[str, list[dict[str, Any]]], settings: dict[str, Any]) -> tuple[str, ...]:
    ours, baseline = variants[OURS], variants.get(BASELINE, [])
    rate = median(60 * one["items"] / one["seconds"] / 1e6 for one in ours)
    cells = (
        LABELS[step].format(times=settings["times"]),
        f"{rate:,.1f} {UNITS.get(step, 'interactions')}",
        *_seconds_and_peak(ours),
        f"{median(one['megabytes_before'] for one in ours):,.0f}",
    )
    if not baseline:
        return (*cells, "", "", "", "")
    faster = median(theirs["seconds"] / one["seconds"] for theirs, one in zip(baseline, ours, strict=True))
    return (*cells, BASELINES[step], *_seconds_and_peak(baseline), f"{faster:.1f} x")


def _seconds_and_peak(figures: list[dict[str, Any]]) -> tuple[str, str]:
    seconds, peak = (median(one[name] for one in figures) for name in ("seconds", "megabytes"))
    return f"{seconds:.2f}", f"{peak:,.0f}"


def notes(report: dict[str, Any]) -> str:
    """What else to know of the table, as a list."""
    return "\n".join(_notes(report))


def _notes(report: dict[str, Any]) -> Iterator[str]:
    corpus, settings = report["corpus"], report["settings"]
    yield (
        f"- {corpus['products']:,} products, {corpus['sessions']:,} sessions, {corpus['interactions']:,} interactions; "
        f"medians of {settings['rounds']}."
    )
    if "seconds_to_make" in corpus:
        a_minute = 60 * corpus["sessions"] / corpus["seconds_to_make"]
        yield f"- The sample shop was made in {corpus['seconds_to_make']:.1f} s: {a_minute:,.0f} sessions a minute."
    steps = report["steps"]
    if "parquet" in steps and "longer" in steps:
        memory = [median(one["megabytes"] for one in steps[name][OURS]) for name in ("parquet", "longer")]
        yield f"- A log {settings['times']} x as long takes {memory[1] / memory[0]:.1f} x the memory to ingest."


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = runner_parser(f"data.{NAME}", __doc__)
    add_corpus_options(parser, products=100_000, sessions=150_000)
    add = parser.add_argument
    add("--times", type=int, default=4, help="length of the longer log, as a multiple of the log")
    add("--steps", nargs="+", choices=STEPS, default=list(STEPS), help="steps to time; those after vocabulary need it")
    add("--rounds", type=int, default=3, help="times that each step is run")
    add("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    for name in ("times", "rounds"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(options, name)}")
    options.steps = [step for step in STEPS if step in options.steps]
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its table; or print the table of a saved one."""
    report = load_or_measure(parse(arguments), measure, OLD_KEYS)
    print(f"{table(report)}\n\n{notes(report)}")


if __name__ == "__main__":
    main()
