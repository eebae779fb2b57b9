"""How fast a log becomes a corpus and a corpus token ids, and in how much memory.

Each step, and what one would write instead, runs in a process of its own, in turns. benchmarks/README.md says what the
figures mean.
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

from benchmarks.command_line import load_or_measure
from benchmarks.data.data_steps import OTHER, OURS, STEPS
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
    "texts": "tokenise products",
    "tokenised": "tokenise a corpus",
    "equal": "find equal texts",
    "fingerprint": "fingerprint",
}
UNITS = {**dict.fromkeys(("vocabulary", "texts", "equal"), "texts")}  # else interactions
OTHERS = {
    "jsonl": "a loop over json.loads",
    "vocabulary": "every text to the trainer",
    "texts": "transformers' fast tokenizer, padded",
    "equal": "a dictionary of rows",
}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report: raw figures of every step, round by round.

    Raises:
        QualityGateFailed: a step and what it is compared with have not done the same.
    """
    settings = {**vars(options), "corpus": options.corpus.name if options.corpus else "sample shop"}
    del settings["out"], settings["show"]
    report = report_header(NAME, settings, packages=("transformers", "pyarrow"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report["corpus"] = prepare(folder, options)
        report["steps"] = {step: {form: [] for form in STEPS[step]} for step in options.steps}
        for number in range(options.rounds):
            for step in options.steps:
                _round(report["steps"][step], step, folder, number)
    return report


def prepare(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Make what the steps read; says how large it is, and how long a sample shop took to make."""
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
    again = [log.with_columns(pl.concat_str(session, pl.lit(f" {copy}"))) for copy in range(options.times)]
    pl.concat(again).sink_parquet(folder / "longer.parquet")
    counts = log.select(pl.len(), session.n_unique().alias("sessions")).collect(engine="streaming")
    products = pl.scan_parquet(folder / "corpus" / PRODUCTS_FILE).select(pl.len()).collect().item()
    sizes = {"products": products, "interactions": counts["len"].item(), "sessions": counts["sessions"].item()}
    return sizes if options.corpus else {**sizes, "seconds_to_make": made}


def _round(taken: dict[str, list[Any]], step: str, folder: Path, number: int) -> None:
    for form, figures in taken.items():
        figures.append(_in_a_process(step, form, folder))
    results = {figures[-1]["result"] for figures in taken.values()}
    if len(results) > 1 and "" not in results:
        raise QualityGateFailed(f"{step}: ours and {OTHERS[step]} differ: {' and '.join(sorted(results))}")
    seconds = ", ".join(f"{form} {figures[-1]['seconds']:.2f} s" for form, figures in taken.items())
    print(f"round {number}, {step}: {seconds}", file=sys.stderr, flush=True)


def _in_a_process(step: str, form: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.data.data_steps", step, form, str(folder)]
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
        "the other way",
        "s",
        "peak MB",
        "ours is faster",
    )
    return markdown_table(columns, [_row(step, forms, report["settings"]) for step, forms in report["steps"].items()])


def _row(step: str, forms: dict[str, list[dict[str, Any]]], settings: dict[str, Any]) -> tuple[str, ...]:
    ours, other = forms[OURS], forms.get(OTHER, [])
    rate = median(60 * one["items"] / one["seconds"] / 1e6 for one in ours)
    cells = (
        LABELS[step].format(times=settings["times"]),
        f"{rate:,.1f} {UNITS.get(step, 'interactions')}",
        *_seconds_and_peak(ours),
        f"{median(one['megabytes_before'] for one in ours):,.0f}",
    )
    if not other:
        return (*cells, "", "", "", "")
    faster = median(theirs["seconds"] / mine["seconds"] for theirs, mine in zip(other, ours, strict=True))
    return (*cells, OTHERS[step], *_seconds_and_peak(other), f"{faster:.1f} x")


def _seconds_and_peak(figures: list[dict[str, Any]]) -> tuple[str, str]:
    seconds, peak = (median(one[name] for one in figures) for name in ("seconds", "megabytes"))
    return f"{seconds:.2f}", f"{peak:,.0f}"


def notes(report: dict[str, Any]) -> str:
    """What a reader of the table should know besides, a line each."""
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
    """The command line."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}", description=__doc__)
    add = parser.add_argument
    add("--corpus", type=Path, metavar="DIR", help="a corpus folder; else a sample shop is made")
    add("--products", type=int, default=100_000, help="products of the sample shop")
    add("--sessions", type=int, default=150_000, help="sessions of the sample shop")
    add("--times", type=int, default=4, help="how many times the log the longer one is")
    add("--steps", nargs="+", choices=STEPS, default=list(STEPS), help="which steps; those after vocabulary need it")
    add("--rounds", type=int, default=3, help="how often each step is timed")
    add("--seed", type=int, default=0)
    add("--out", type=Path, metavar="FILE", help=f"where to write; else benchmarks/results/{NAME}.json")
    add("--show", type=Path, metavar="FILE", help="print the table of this report and measure nothing")
    options = parser.parse_args(arguments)
    for name in ("times", "rounds"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(options, name)}")
    options.steps = [step for step in STEPS if step in options.steps]
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, keep the report, print its table; or print that of a kept one."""
    options = parse(arguments)
    report = load_or_measure(options, measure)
    print(f"{table(report)}\n\n{notes(report)}")


if __name__ == "__main__":
    main()
