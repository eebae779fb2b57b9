"""How much faster is a pre-training step than in the paper's plain form, and than with sentence-transformers' trainer?

The variants take turns on the same batches, in one process. Before anything is timed, their losses without dropout must
be equal. benchmarks/training/README.md says what the figures mean.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.command_line import add_corpus_options, add_model_options, load_or_measure, runner_parser, settings_of
from benchmarks.report import markdown_table, report_header
from benchmarks.training.flops import parse_shape, peak_flops
from benchmarks.training.step_variants import (
    OURS,
    PADDINGS,
    ModelVariant,
    StepVariant,
    require_equal_losses,
    variant_name,
    variants_of,
)
from benchmarks.training.trainer_variant import PACKAGES, SENTENCE_TRANSFORMERS, TrainerVariant, missing_packages
from benchmarks.training.training_input import Step, open_corpus, starting_model, stir
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.model.device import computes_bfloat16
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.pretrain import stages_of
from ubm_embed.training.pretraining.stages import Stage, batches

NAME = "pretraining_speed"
KINDS = (OURS, SENTENCE_TRANSFORMERS, *PADDINGS)
# Reports before 2026-11-30 -> today's.
OLD_KEYS = {
    "forms": "variants",
    "places": "token_slots",
    "lacking": "missing_packages",
    **{f"plain{suffix}": f"full{suffix}" for suffix in ("", " float32", " bfloat16")},
}
UNITS = {1: "pairs", 2: "sessions"}
LABELS = {
    "ours": "ours",
    "sentence-transformers": "sentence-transformers",
    "occurrences": "longest, interactions only",
    "longest": "padded to the longest",
    "full": "padded to 32 x 64",
}
COLUMNS = (
    "stage, variant",
    "examples/s",
    "ours is faster",
    "s a step",
    "of it reading",
    "GFLOP/s",
    "of the ceiling",
    "token slots",
    "padding",
    "interactions",
)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report: raw figures of both stages."""
    name = options.corpus.name if options.corpus else None
    missing = missing_packages() if SENTENCE_TRANSFORMERS in options.variants else []
    if missing:
        print(f"left out: {SENTENCE_TRANSFORMERS}; pip install {' '.join(missing)}", file=sys.stderr)
        options.variants = [kind for kind in options.variants if kind != SENTENCE_TRANSFORMERS]
    settings = {**settings_of(options), "threads": torch.get_num_threads()}
    report = report_header(f"{NAME}_{name}" if name else NAME, settings, packages=PACKAGES)
    report["missing_packages"] = missing
    report["ceiling"] = {
        precision: peak_flops(options.device, precision, options.ceiling_shapes) for precision in options.precisions
    }
    corpus = open_corpus(options)
    model, tokenizer = starting_model(corpus, options)
    stir(model)
    config = config_of(options)
    stages = stages_of(TokenizedCorpus.from_corpus(corpus, tokenizer), tokenizer, config)
    report["corpus"] = {"products": corpus.products.height, "sessions": corpus.sessions, "tokens": tokenizer.vocab_size}
    report["stages"] = [measure_stage(stage, model, tokenizer, config, options) for stage in stages]
    return report


def config_of(options: argparse.Namespace) -> PretrainingConfig:
    """The settings of every variant."""
    return PretrainingConfig(
        stages=tuple(options.stages),
        item_batch=options.item_batch,
        session_batch=options.session_batch,
        seed=options.seed,
        max_steps=options.steps + 1,  # the first one warms up
        epochs=options.steps + 1,  # enough for any size of corpus
        item_actions=False,  # as in the paper
    )


def measure_stage(
    stage: Stage,
    model: UserBehaviorModel,
    tokenizer: InteractionTokenizer,
    config: PretrainingConfig,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Work and time of each variant's step, round by round; the first round warms up.

    Raises:
        QualityGateFailed: the variants' losses differ without dropout.
    """
    steps = [Step.read(stage, chosen, number, config.seed) for number, chosen in batches(stage, config)]
    padded = variants_of(options.variants, options.precisions, model, stage.number, config)
    # sentence-transformers has no sessions, so no stage 2.
    precisions = options.precisions if stage.number == 1 and SENTENCE_TRANSFORMERS in options.variants else ()
    views = [step.views for step in steps]
    with contextlib.ExitStack() as stack:
        trainers = [TrainerVariant(precision, model, tokenizer, config, views) for precision in precisions]
        variants: list[StepVariant] = [*padded, *(stack.enter_context(contextlib.closing(one)) for one in trainers)]
        reference = ModelVariant(OURS, "float32", model, config)
        losses = require_equal_losses(variants, reference, steps[0].views)
        rounds = [_round(stage, number, step, variants) for number, step in enumerate(steps)]
    return {
        "stage": stage.number,
        "losses_without_dropout": losses,
        "warm_up": rounds[0],
        "rounds": rounds[1:],
        "paper_batch": _at_paper_batch(padded, stage, config),
    }


def _round(stage: Stage, number: int, step: Step, variants: Sequence[StepVariant]) -> dict[str, Any]:
    """One step of each variant, in a random order, so that none always runs on warm caches."""
    results: dict[str, Any] = dict.fromkeys(map(variant_name, variants))
    for index in np.random.default_rng(number).permutation(len(variants)):
        variant = variants[index]
        result = variant.run_step(step.views)
        if isinstance(variant, ModelVariant):  # these read by our code, which has drawn the views already
            result["reading_seconds"] += step.reading_seconds
        results[variant_name(variant)] = result
    seconds = ", ".join(f"{name} {result['seconds']:.2f} s" for name, result in results.items())
    print(f"stage {stage.number}, {f'round {number}' if number else 'warm-up'}: {seconds}", file=sys.stderr, flush=True)
    return {"examples": step.examples, "variants": results}


def _at_paper_batch(variants: Sequence[ModelVariant], stage: Stage, config: PretrainingConfig) -> dict[str, Any]:
    """Work of ours and each padded variant for a batch of the paper's size: counted, not run."""
    size = PretrainingConfig().item_batch if stage.number == 1 else PretrainingConfig().session_batch
    chosen = stage.epoch(np.random.default_rng([config.seed, stage.number]))[:size]
    views = Step.read(stage, chosen, 0, config.seed).views
    work = {variant.kind: variant.work(variant.prepare(views)) for variant in variants}
    return {"examples": chosen.size, "variants": work}


def table(report: dict[str, Any]) -> str:
    """A row for each stage and variant; "ours is faster" is the median of the rounds' ratios of whole steps."""
    stages, peaks = report["stages"], report["ceiling"]
    rows = [_row(stage, name, peaks) for stage in stages for name in stage["rounds"][0]["variants"]]
    return markdown_table(COLUMNS, rows)


def _row(stage: dict[str, Any], name: str, peaks: dict[str, Any]) -> tuple[str, ...]:
    rounds = stage["rounds"]
    steps = [one["variants"][name] for one in rounds]
    rate = median(one["examples"] / _whole(one["variants"][name]) for one in rounds)
    flops = median(step["flops"] / step["seconds"] for step in steps)
    return (
        f"{stage['stage']}, {_label(name)}",
        f"{rate:,.1f} {UNITS[stage['stage']]}",
        f"{_ratio(rounds, name, _base(stage)):.1f} x",
        f"{median(map(_whole, steps)):.3f}",
        f"{median(step['reading_seconds'] / _whole(step) for step in steps):.1%}",
        f"{flops / 1e9:,.0f}",
        f"{flops / peaks[_precision(name)]['flops']:.0%}",
        f"{median(step['token_slots'] for step in steps):,.0f}",
        f"{median(1 - step['tokens'] / step['token_slots'] for step in steps):.0%}",
        f"{median(step['interactions'] for step in steps):,.0f}",
    )


def _whole(step: dict[str, float]) -> float:
    """Seconds of a step, with its reading."""
    return step["reading_seconds"] + step["seconds"]


def _ratio(rounds: list[dict[str, Any]], name: str, base: str) -> float:
    """Time of a step of `name` divided by that of `base`."""
    return median(_whole(one["variants"][name]) / _whole(one["variants"][base]) for one in rounds)


def _base(stage: dict[str, Any]) -> str:
    """Ours in the format of `--precision auto`: the first variant."""
    return str(next(iter(stage["rounds"][0]["variants"])))


def _precision(name: str) -> str:
    return name.rsplit(" ", 1)[1]


def _label(name: str) -> str:
    kind, precision = name.rsplit(" ", 1)
    return f"{LABELS[kind]}, {precision}"


def notes(report: dict[str, Any]) -> str:
    """What else to know of the table, as a list."""
    ceilings = ", ".join(f"{value['flops'] / 1e9:,.0f} in {name}" for name, value in report["ceiling"].items())
    lines = [f"- The ceiling, GFLOP/s of a large matrix product in the same run: {ceilings}."]
    if report["missing_packages"]:
        lines.append(
            f"- sentence-transformers is left out: not installed were {', '.join(report['missing_packages'])}."
        )
    return "\n".join([*lines, *(line for stage in report["stages"] for line in _notes(stage))])


def _notes(stage: dict[str, Any]) -> Iterator[str]:
    rounds, number, unit = stage["rounds"], stage["stage"], UNITS[stage["stage"]]
    base = _base(stage)
    reading = median(one["variants"][base]["reading_seconds"] / _whole(one["variants"][base]) for one in rounds)
    distinct = median(_distinct(one["variants"], base) for one in rounds)
    yield (
        f"- Stage {number}: {rounds[0]['examples']} {unit} a step, medians of {len(rounds)}. Ours encodes "
        f"{distinct:.0%} of the interactions. Drawing, masking and packing take {reading:.1%} of its step."
    )
    yield from _within_formats(stage)
    counted = stage["paper_batch"]
    ours = counted["variants"]["ours"]["token_slots"]
    others = [f"{LABELS[kind]} {work['token_slots'] / ours:.1f} x" for kind, work in counted["variants"].items()][1:]
    yield (
        f"- Stage {number}, counted for {counted['examples']} {unit} a step and not run: ours would encode "
        f"{_distinct(counted['variants'], 'ours'):.0%} of the interactions; token slots against ours: "
        f"{', '.join(others) or 'no other variant'}."
    )


def _within_formats(stage: dict[str, Any]) -> Iterator[str]:
    """How much faster ours is than variants of the same number format, for each format except the automatic one."""
    variants, base = list(stage["rounds"][0]["variants"]), _base(stage)
    for precision in dict.fromkeys(map(_precision, variants)):
        ours = f"ours {precision}"
        others = [name for name in variants if _precision(name) == precision and name != ours]
        if ours != base and others:
            ratios = ", ".join(
                f"{LABELS[name.rsplit(' ', 1)[0]]} {_ratio(stage['rounds'], name, ours):.1f} x" for name in others
            )
            yield f"- Stage {stage['stage']}, {precision} against {precision}: {ratios}."


def _distinct(variants: dict[str, Any], ours: str) -> float:
    """Distinct interactions, which ours encodes, divided by occurrences, which padded variants encode."""
    return float(variants[ours]["interactions"] / max(work["interactions"] for work in variants.values()))


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = runner_parser(f"training.{NAME}", __doc__, default_out=f"{NAME}[_CORPUS]")
    add_corpus_options(parser, products=20_000, sessions=5_000)
    add_model_options(parser)
    add = parser.add_argument
    add("--variants", nargs="+", choices=KINDS, default=KINDS, help="what to compare; ours is always included")
    add("--precisions", nargs="+", choices=("float32", "bfloat16"), help="number formats; default: all fast ones")
    add("--stages", nargs="+", type=int, choices=(1, 2), default=(1, 2))
    add("--steps", type=int, default=3, help="timed steps of each variant and stage, after a warm-up step")
    add("--item-batch", type=int, default=64, help="pairs a step in stage 1")
    add("--session-batch", type=int, default=16, help="sessions a step in stage 2")
    add("--ceiling-shapes", nargs="+", type=parse_shape, metavar="RxIxC", help="matrix products that set the ceiling")
    add("--device", default="cpu")
    add("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.steps < 1:
        parser.error(f"--steps must be at least 1, got {options.steps}")
    options.variants = [kind for kind in KINDS if kind in (OURS, *options.variants)]
    fast = ("bfloat16", "float32") if computes_bfloat16(torch.device(options.device)) else ("float32",)
    # The format of `--precision auto` comes first: the ratios are relative to it.
    options.precisions = [name for name in ("bfloat16", "float32") if name in (options.precisions or fast)]
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its table; or print the table of a saved one."""
    report = load_or_measure(parse(arguments), measure, OLD_KEYS)
    print(f"{table(report)}\n\n{notes(report)}")


if __name__ == "__main__":
    main()
