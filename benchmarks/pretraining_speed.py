"""How much faster a pre-training step is than in the paper's plain form.

The forms take turns on the same batches, in one process. Before anything is timed, their losses with dropout off must
agree. benchmarks/README.md says what the figures mean.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.report import heading, kept_or_measured, markdown_table
from benchmarks.training_form import FORMS, OURS, Form, encoded, equal_losses, forms_of
from ubm_embed.data.arrays import IntArray
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.data.tokenized_corpus import TokenizedCorpus
from ubm_embed.model.start import fresh_model
from ubm_embed.training.config import PretrainingConfig
from ubm_embed.training.precision import PRECISIONS
from ubm_embed.training.pretraining import stages_of
from ubm_embed.training.schedule import batches
from ubm_embed.training.stages import Stage
from ubm_embed.training.views import Views

NAME = "pretraining_speed"
UNITS = {1: "pairs", 2: "sessions"}
LABELS = {
    OURS: "ours",
    "occurrences": "longest, interactions only",
    "longest": "padded to the longest",
    "plain": "padded to 32 x 64",
}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report: raw figures of both stages."""
    settings = {**vars(options), "corpus": options.corpus.name if options.corpus else "sample shop"}
    del settings["out"], settings["show"]
    report = heading(NAME, {**settings, "threads": torch.get_num_threads()})
    corpus = open_corpus(options)
    sizes = {"layers": options.layers, "session_layers": options.layers, "width": options.width}
    model, tokenizer = fresh_model(corpus, seed=options.seed, dimension=options.width, **sizes)
    _stir(model)
    model.to(options.device).train()
    config = PretrainingConfig(
        item_batch=options.item_batch,
        session_batch=options.session_batch,
        precision=options.precision,
        seed=options.seed,
        max_steps=options.steps + 1,  # one warms up
        epochs=options.steps + 1,  # enough of them, however small the corpus is
        item_actions=False,  # the plain form is the paper's
    )
    stages = stages_of(TokenizedCorpus.of(corpus, tokenizer), tokenizer, config)
    report["corpus"] = {"products": corpus.products.height, "sessions": corpus.sessions, "tokens": tokenizer.vocab_size}
    report["stages"] = [measure_stage(forms_of(options.forms, model, stage, config), stage, config) for stage in stages]
    return report


def open_corpus(options: argparse.Namespace) -> Corpus:
    """The corpus asked for, else a sample shop."""
    if options.corpus:
        return Corpus.open(options.corpus)
    with tempfile.TemporaryDirectory() as folder:
        shop = Path(folder) / "shop"
        write_sample_shop(shop, products=options.products, sessions=options.sessions, seed=options.seed)
        return Corpus.open(shop)


def _stir(model: nn.Module) -> None:
    """Noise on every weight: a fresh session encoder's branches are silent and would hide a difference."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)


def measure_stage(forms: Sequence[Form], stage: Stage, config: PretrainingConfig) -> dict[str, Any]:
    """What each form's step read and how long it took, round by round; the first round warms up.

    Raises:
        QualityGateFailed: the forms' losses differ with dropout off.
    """
    losses: dict[str, dict[str, float]] = {}
    rounds = []
    for step, chosen in batches(stage, config):
        started = time.perf_counter()
        views = read(stage, chosen, step, config)
        reading = time.perf_counter() - started
        losses = losses or equal_losses(forms, views)
        taken = {form.name: _take(form, views) for form in forms}
        _say(f"stage {stage.number}, {f'round {step}' if step else 'warm-up'}", taken)
        rounds.append({"examples": chosen.size, "reading_seconds": reading, "forms": taken})
    return {
        "stage": stage.number,
        "losses_without_dropout": losses,
        "warm_up": rounds[0],
        "rounds": rounds[1:],
        "paper_batch": _at_paper_batch(forms, stage, config),
    }


def read(stage: Stage, chosen: IntArray, step: int, config: PretrainingConfig) -> Views:
    """The views of a step, the same for every form."""
    return stage.views(chosen, np.random.default_rng([config.seed, stage.number, step]))


def _take(form: Form, views: Views) -> dict[str, float]:
    """One step of a form. Padding a batch and moving it to the device is not timed, as packing ours is not."""
    inputs = form.lay_out(views)
    return {"seconds": form.step(inputs), **encoded(inputs)}


def _say(what: str, taken: dict[str, dict[str, float]]) -> None:
    seconds = ", ".join(f"{name} {figures['seconds']:.2f} s" for name, figures in taken.items())
    print(f"{what}: {seconds}", file=sys.stderr, flush=True)


def _at_paper_batch(forms: Sequence[Form], stage: Stage, config: PretrainingConfig) -> dict[str, Any]:
    """What each form would encode of a batch as large as the paper's: counted, not run."""
    size = PretrainingConfig.item_batch if stage.number == 1 else PretrainingConfig.session_batch
    chosen = stage.epoch(np.random.default_rng([config.seed, stage.number]))[:size]
    views = read(stage, chosen, 0, config)
    return {"examples": chosen.size, "forms": {form.name: encoded(form.lay_out(views)) for form in forms}}


def table(report: dict[str, Any]) -> str:
    """The table of a report. Figures are medians over the rounds; "ours is faster" is the median of their ratios."""
    columns = (
        "stage, form",
        "examples/s",
        "ours is faster",
        "s a step",
        "places for tokens",
        "padding",
        "interactions",
    )
    return markdown_table(
        columns, [_row(stage, form) for stage in report["stages"] for form in stage["rounds"][0]["forms"]]
    )


def _row(stage: dict[str, Any], form: str) -> tuple[str, ...]:
    rounds = stage["rounds"]
    of = [one["forms"][form] for one in rounds]
    ours = [one["forms"][OURS]["seconds"] for one in rounds]
    rate = median(one["examples"] / one["forms"][form]["seconds"] for one in rounds)
    return (
        f"{stage['stage']}, {LABELS[form]}",
        f"{rate:,.2f} {UNITS[stage['stage']]}",
        f"{median(one['seconds'] / base for one, base in zip(of, ours, strict=True)):.1f} x",
        f"{median(one['seconds'] for one in of):.2f}",
        f"{median(one['places'] for one in of):,.0f}",
        f"{median(1 - one['tokens'] / one['places'] for one in of):.0%}",
        f"{median(one['interactions'] for one in of):,.0f}",
    )


def notes(report: dict[str, Any]) -> str:
    """What a reader of the table should know besides, a line each."""
    return "\n".join(line for stage in report["stages"] for line in _notes(stage))


def _notes(stage: dict[str, Any]) -> Iterator[str]:
    rounds, number, unit = stage["rounds"], stage["stage"], UNITS[stage["stage"]]
    share = median(_share_encoded(one["forms"]) for one in rounds)
    reading = median(one["reading_seconds"] for one in rounds)
    yield (
        f"- Stage {number}: {rounds[0]['examples']} {unit} a step, medians of {len(rounds)}. Ours encodes {share:.0%} "
        f"of the interactions. Reading and packing a batch, which the table does not hold, takes {reading:.3f} s."
    )
    counted = stage["paper_batch"]
    ours = counted["forms"][OURS]["places"]
    others = [
        f"{LABELS[name]} {form['places'] / ours:.1f} x" for name, form in counted["forms"].items() if name != OURS
    ]
    yield (
        f"- Stage {number}, counted for {counted['examples']} {unit} a step and not run: ours would encode "
        f"{_share_encoded(counted['forms']):.0%} of the interactions; places for tokens against ours: "
        f"{', '.join(others)}."
    )


def _share_encoded(forms: dict[str, Any]) -> float:
    """Ours encodes each distinct interaction, every padded form each occurrence."""
    return float(forms[OURS]["interactions"] / max(form["interactions"] for form in forms.values()))


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}", description=__doc__)
    add = parser.add_argument
    add("--corpus", type=Path, metavar="DIR", help="a corpus folder; else a sample shop is made")
    add("--products", type=int, default=20_000, help="products of the sample shop")
    add("--sessions", type=int, default=5_000, help="sessions of the sample shop")
    add("--forms", nargs="+", choices=FORMS, default=FORMS, help="forms to compare; ours is always one")
    add("--steps", type=int, default=3, help="timed steps of each form and stage, after one to warm up")
    add("--item-batch", type=int, default=64, help="pairs a step in stage 1")
    add("--session-batch", type=int, default=16, help="sessions a step in stage 2")
    add("--layers", type=int, default=4, help="layers of each encoder")
    add("--width", type=int, default=256, help="width of both encoders")
    add("--device", default="cpu")
    add("--precision", choices=PRECISIONS, default="float32", help="number format, of every form")
    add("--seed", type=int, default=0)
    add("--out", type=Path, metavar="FILE", help=f"where to write; else benchmarks/results/{NAME}.json")
    add("--show", type=Path, metavar="FILE", help="print the table of this report and measure nothing")
    options = parser.parse_args(arguments)
    if options.steps < 1:
        parser.error(f"--steps must be at least 1, got {options.steps}")
    options.forms = [form for form in FORMS if form in (OURS, *options.forms)]
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, keep the report, print its table; or print that of a kept one."""
    options = parse(arguments)
    report = kept_or_measured(options, measure)
    print(f"{table(report)}\n\n{notes(report)}")


if __name__ == "__main__":
    main()
