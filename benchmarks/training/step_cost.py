"""What a session costs a training step as the batch, the sessions and the titles grow: ours, and padded to the longest.

python -m benchmarks.training.step_cost [--corpus DIR]

Each row is stage 2 at one size, both forms in turns. A size whose activations would not fit into memory is left out of
the form that would need them, and says so.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.report import heading, kept_or_measured, markdown_table
from benchmarks.training.training_form import OURS, ModelForm
from benchmarks.training.training_input import Step, open_corpus, starting_model, stir
from ubm_embed.data.arrays import offsets_of
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import MAX_TEXT_TOKENS
from ubm_embed.model.precision import computes_bfloat16
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.pretrain import training_sessions
from ubm_embed.training.pretraining.schedule import batches
from ubm_embed.training.pretraining.stages import SESSION_LOSSES, SessionStage

NAME = "step_cost"
LABELS = {OURS: "ours", "longest": "padded to the longest"}
# Bytes of activations for a place for a token, a layer and an element of width: measured 115 and 80 kB a place at 4
# layers of 256, of both forms about alike.
_BYTES = {"float32": 115_000 / (4 * 256), "bfloat16": 80_000 / (4 * 256)}


@dataclass(frozen=True)
class Case:
    """One row: a batch of so many sessions, each cut to its last `interactions`, each text `titles` times as long."""

    what: str
    batch: int
    interactions: int = 32
    titles: float = 1.0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report: raw figures of every case."""
    name = options.corpus.name if options.corpus else None
    settings = {**vars(options), "corpus": name or "sample shop", "threads": torch.get_num_threads()}
    del settings["out"], settings["show"]
    report = heading(f"{NAME}_{name}" if name else NAME, settings)
    corpus = open_corpus(options)
    model, tokenizer = starting_model(corpus, options)
    stir(model)
    tokenized = TokenizedCorpus.of(corpus, tokenizer)
    report["cases"] = []
    for case in cases_of(options):
        config = PretrainingConfig(
            session_batch=case.batch, seed=options.seed, max_steps=options.steps + 1, epochs=options.steps + 1
        )
        texts = stretched(tokenized.texts, case.titles)
        sessions = training_sessions(tokenized, config, case.interactions)
        stage = SessionStage(
            tokenizer, replace(tokenized, texts=texts), sessions, case.batch, frozenset(SESSION_LOSSES)
        )
        forms = [ModelForm(kind, options.precision, model, config) for kind in LABELS]
        report["cases"].append({**vars(case), **_measured(case, forms, stage, config, options)})
    return report


def cases_of(options: argparse.Namespace) -> Iterator[Case]:
    """Larger batches, then longer sessions, then longer texts, the other two as they are."""
    yield from (Case("batch", batch) for batch in options.batches)
    yield from (Case("interactions", options.batch, interactions=most) for most in options.interactions)
    yield from (Case("titles", options.batch, titles=factor) for factor in options.titles)


def stretched(texts: TokenTable, factor: float) -> TokenTable:
    """Each text cut, or repeated, to `factor` times its tokens, at least 1 and at most what an interaction may have."""
    lengths = np.clip(np.rint(texts.lengths * factor), 1, MAX_TEXT_TOKENS).astype(np.int64)
    lengths = np.where(texts.lengths == 0, 0, lengths)
    offsets = offsets_of(lengths)
    positions = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    places = np.repeat(texts.offsets[:-1], lengths) + positions % np.repeat(np.maximum(texts.lengths, 1), lengths)
    return TokenTable(texts.ids[places], offsets)


def _measured(
    case: Case, forms: Sequence[ModelForm], stage: SessionStage, config: PretrainingConfig, options: argparse.Namespace
) -> dict[str, Any]:
    rounds: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    for number, chosen in batches(stage, config):
        step = Step.read(stage, chosen, number, config.seed)
        taken: dict[str, Any] = {}
        for form in forms:
            gigabytes = needed(form, step, options)
            if form.kind in left_out or gigabytes > options.memory_gb:
                left_out.setdefault(form.kind, f"needs about {gigabytes:.0f} GB")
                continue
            figures = form.take(step.views)
            taken[form.kind] = {**figures, "reading_seconds": figures["reading_seconds"] + step.reading_seconds}
        rounds.append({"examples": step.examples, "forms": taken})
    _say(case, rounds[-1])
    return {"warm_up": rounds[0], "rounds": rounds[1:], "left_out": left_out}


def needed(form: ModelForm, step: Step, options: argparse.Namespace) -> float:
    """Gigabytes that a step's activations would take, about."""
    places = form.work(form.lay_out(step.views))["places"]
    return float(places * _BYTES[options.precision] * options.layers * options.width / 1e9)


def _say(case: Case, last: dict[str, Any]) -> None:
    seconds = ", ".join(f"{kind} {figures['seconds']:.2f} s" for kind, figures in last["forms"].items())
    print(f"{case}: {seconds}", file=sys.stderr, flush=True)


def table(report: dict[str, Any]) -> str:
    """A row a case and form; figures are medians over the rounds."""
    columns = ("what grows", "form", "ms a session", "sessions/s", "tokens/s", "s a step", "distinct", "padding")
    return markdown_table(columns, [_row(case, kind) for case in report["cases"] for kind in LABELS])


def _row(case: dict[str, Any], kind: str) -> tuple[str, ...]:
    what = {
        "batch": f"batch of {case['batch']}",
        "interactions": f"last {case['interactions']} interactions, batch of {case['batch']}",
        "titles": f"texts x {case['titles']:g}, batch of {case['batch']}",
    }[case["what"]]
    if kind in case["left_out"]:
        return (what, LABELS[kind], case["left_out"][kind], *[""] * 5)
    of = [(one["examples"], one["forms"][kind]) for one in case["rounds"]]
    occurrences = [max(form["interactions"] for form in one["forms"].values()) for one in case["rounds"]]
    seconds = [one["seconds"] + one["reading_seconds"] for _, one in of]
    cost = median(whole / examples for whole, (examples, _) in zip(seconds, of, strict=True))
    return (
        what,
        LABELS[kind],
        f"{1000 * cost:,.1f}",
        f"{1 / cost:,.1f}",
        f"{median(one['tokens'] / whole for whole, (_, one) in zip(seconds, of, strict=True)):,.0f}",
        f"{median(seconds):.3f}",
        f"{median(one['interactions'] / every for every, (_, one) in zip(occurrences, of, strict=True)):.0%}",
        f"{median(1 - one['tokens'] / one['places'] for _, one in of):.0%}",
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{NAME}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--corpus", type=Path, metavar="DIR", help="a corpus folder; else a sample shop is made")
    add("--products", type=int, default=20_000, help="products of the sample shop")
    add("--sessions", type=int, default=5_000, help="sessions of the sample shop")
    add("--batches", nargs="*", type=int, default=[16, 32, 64, 128, 256, 512, 1024], help="sessions a step")
    add("--interactions", nargs="*", type=int, default=[2, 4, 8, 16, 32], help="last interactions of each session")
    add("--titles", nargs="*", type=float, default=[0.5, 1, 2, 3], help="how much longer each text is made")
    add("--batch", type=int, default=32, help="sessions a step while sessions and texts grow")
    add("--steps", type=int, default=3, help="timed steps of each form and case, after one to warm up")
    add("--memory-gb", type=float, default=0.7 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9)
    add("--layers", type=int, default=4, help="layers of each encoder")
    add("--width", type=int, default=256, help="width of both encoders")
    add("--precision", choices=("float32", "bfloat16"), help="number format of both; else the fastest here")
    add("--device", default="cpu")
    add("--seed", type=int, default=0)
    add("--out", type=Path, metavar="FILE", help=f"where to write; else benchmarks/results/{NAME}[_CORPUS].json")
    add("--show", type=Path, metavar="FILE", help="print the table of this report and measure nothing")
    options = parser.parse_args(arguments)
    fast = "bfloat16" if computes_bfloat16(torch.device(options.device)) else "float32"
    options.precision = options.precision or fast
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, keep the report, print its table; or print that of a kept one."""
    print(table(kept_or_measured(parse(arguments), measure)))


if __name__ == "__main__":
    main()
