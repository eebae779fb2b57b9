"""What does a session cost in a training step as batch, sessions and texts grow: ours, and padded to the longest?

python -m benchmarks.training.step_cost [--corpus DIR]

Each row is stage 2 at one size; both variants take turns. A variant whose activations would not fit into memory is left
out at that size, and the table says so.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.command_line import (
    add_corpus_options,
    add_model_options,
    add_quick_option,
    load_or_measure,
    parse_with_quick,
    runner_parser,
    settings_of,
)
from benchmarks.report import markdown_table, report_header
from benchmarks.training.step_variants import OURS, ModelVariant
from benchmarks.training.training_input import Step, open_corpus, starting_model, stir
from ubm_embed.data.arrays import offsets_of
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import MAX_TEXT_TOKENS
from ubm_embed.model.device import computes_bfloat16
from ubm_embed.training.pretraining.config import SESSION_LOSSES, PretrainingConfig
from ubm_embed.training.pretraining.pretrain import training_sessions
from ubm_embed.training.pretraining.stages import SessionStage, batches

NAME = "step_cost"
LABELS = {OURS: "ours", "longest": "padded to the longest"}
OLD_KEYS = {"forms": "variants", "places": "token_slots"}  # of reports before 2026-11-30
QUICK = {"products": 2000, "sessions": 1000, "batches": [16, 64], "interactions": [], "titles": [], "steps": 2}
# Bytes of activations for each token slot, layer and element of width: measured 115 and 80 kB a slot at 4 layers of
# 256, about equal in both variants.
_BYTES = {"float32": 115_000 / (4 * 256), "bfloat16": 80_000 / (4 * 256)}


@dataclass(frozen=True)
class Case:
    """One row: the sessions in a batch, each cut to its last `interactions`, each text `titles` times as long."""

    what: str
    batch: int
    interactions: int = 32
    titles: float = 1.0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report: raw figures of every case."""
    name = options.corpus.name if options.corpus else None
    settings = {**settings_of(options), "threads": torch.get_num_threads()}
    report = report_header(f"{NAME}_{name}" if name else NAME, settings)
    corpus = open_corpus(options)
    model, tokenizer = starting_model(corpus, options)
    stir(model)
    tokenized = TokenizedCorpus.from_corpus(corpus, tokenizer)
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
        variants = [ModelVariant(kind, options.precision, model, config) for kind in LABELS]
        report["cases"].append({**vars(case), **_rounds(case, variants, stage, config, options)})
    return report


def cases_of(options: argparse.Namespace) -> Iterator[Case]:
    """Larger batches, then longer sessions, then longer texts; one thing grows at a time."""
    yield from (Case("batch", batch) for batch in options.batches)
    yield from (Case("interactions", options.batch, interactions=limit) for limit in options.interactions)
    yield from (Case("titles", options.batch, titles=factor) for factor in options.titles)


def stretched(texts: TokenTable, factor: float) -> TokenTable:
    """Each text cut or repeated to `factor` times its tokens, between 1 token and an interaction's maximum."""
    lengths = np.clip(np.rint(texts.lengths * factor), 1, MAX_TEXT_TOKENS).astype(np.int64)
    lengths = np.where(texts.lengths == 0, 0, lengths)
    offsets = offsets_of(lengths)
    positions = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    sources = np.repeat(texts.offsets[:-1], lengths) + positions % np.repeat(np.maximum(texts.lengths, 1), lengths)
    return TokenTable(texts.ids[sources], offsets)


def _rounds(
    case: Case,
    variants: Sequence[ModelVariant],
    stage: SessionStage,
    config: PretrainingConfig,
    options: argparse.Namespace,
) -> dict[str, Any]:
    rounds: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    for number, chosen in batches(stage, config):
        step = Step.read(stage, chosen, number, config.seed)
        results: dict[str, Any] = {}
        for variant in variants:
            gigabytes = activation_gb(variant, step, options)
            if variant.kind in left_out or gigabytes > options.memory_gb:
                left_out.setdefault(variant.kind, f"needs about {gigabytes:.0f} GB")
                continue
            result = variant.run_step(step.views)
            results[variant.kind] = {**result, "reading_seconds": result["reading_seconds"] + step.reading_seconds}
        rounds.append({"examples": step.examples, "variants": results})
    seconds = ", ".join(f"{kind} {result['seconds']:.2f} s" for kind, result in rounds[-1]["variants"].items())
    print(f"{case}: {seconds}", file=sys.stderr, flush=True)
    return {"warm_up": rounds[0], "rounds": rounds[1:], "left_out": left_out}


def activation_gb(variant: ModelVariant, step: Step, options: argparse.Namespace) -> float:
    """Estimated gigabytes of a step's activations."""
    slots = variant.work(variant.prepare(step.views))["token_slots"]
    return float(slots * _BYTES[options.precision] * options.layers * options.width / 1e9)


def table(report: dict[str, Any]) -> str:
    """A row for each case and variant; figures are medians over the rounds."""
    columns = ("what grows", "variant", "ms a session", "sessions/s", "tokens/s", "s a step", "distinct", "padding")
    return markdown_table(columns, [_row(case, kind) for case in report["cases"] for kind in LABELS])


def _row(case: dict[str, Any], kind: str) -> tuple[str, ...]:
    name = {
        "batch": f"batch of {case['batch']}",
        "interactions": f"last {case['interactions']} interactions, batch of {case['batch']}",
        "titles": f"texts x {case['titles']:g}, batch of {case['batch']}",
    }[case["what"]]
    if kind in case["left_out"]:
        return (name, LABELS[kind], case["left_out"][kind], *[""] * 5)
    steps = [one["variants"][kind] for one in case["rounds"]]
    examples = [one["examples"] for one in case["rounds"]]
    occurrences = [max(work["interactions"] for work in one["variants"].values()) for one in case["rounds"]]
    seconds = [step["seconds"] + step["reading_seconds"] for step in steps]
    cost = median(whole / count for whole, count in zip(seconds, examples, strict=True))
    return (
        name,
        LABELS[kind],
        f"{1000 * cost:,.1f}",
        f"{1 / cost:,.1f}",
        f"{median(step['tokens'] / whole for step, whole in zip(steps, seconds, strict=True)):,.0f}",
        f"{median(seconds):.3f}",
        f"{median(step['interactions'] / count for step, count in zip(steps, occurrences, strict=True)):.0%}",
        f"{median(1 - step['tokens'] / step['token_slots'] for step in steps):.0%}",
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = runner_parser(f"training.{NAME}", __doc__, default_out=f"{NAME}[_CORPUS]")
    add_corpus_options(parser, products=20_000, sessions=5_000)
    add_model_options(parser)
    add_quick_option(parser, QUICK)
    add = parser.add_argument
    add("--batches", nargs="*", type=int, default=[16, 32, 64, 128, 256, 512, 1024], help="sessions a step")
    add("--interactions", nargs="*", type=int, default=[2, 4, 8, 16, 32], help="last interactions of each session")
    add("--titles", nargs="*", type=float, default=[0.5, 1, 2, 3], help="factors for the length of each text")
    add("--batch", type=int, default=32, help="sessions a step while sessions and texts grow")
    add("--steps", type=int, default=3, help="timed steps of each variant and case, after a warm-up step")
    memory = 0.7 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    add("--memory-gb", type=float, default=memory, help="leave out what needs more; default: 70%% of the memory")
    add("--precision", choices=("float32", "bfloat16"), help="number format of both; default: the fastest here")
    add("--device", default="cpu")
    add("--seed", type=int, default=0)
    options = parse_with_quick(parser, QUICK, arguments)
    fast = "bfloat16" if computes_bfloat16(torch.device(options.device)) else "float32"
    options.precision = options.precision or fast
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its table; or print the table of a saved one."""
    print(table(load_or_measure(parse(arguments), measure, OLD_KEYS)))


if __name__ == "__main__":
    main()
