"""How much faster a pre-training step is than in the paper's plain form, and than in other people's trainer.

The forms take turns on the same batches, in one process. Before anything is timed, their losses with dropout off must
agree. benchmarks/README.md says what the figures mean.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.report import heading, kept_or_measured
from benchmarks.training.ceiling import ceiling
from benchmarks.training.speed_table import notes, table
from benchmarks.training.trainer_form import PACKAGES, SENTENCE_TRANSFORMERS, TrainerForm, lacking_packages
from benchmarks.training.training_form import OURS, PADDINGS, Form, ModelForm, equal_losses, forms_of, name_of
from benchmarks.training.training_input import Step, open_corpus, starting_model, stir
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.model.precision import computes_bfloat16
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.pretrain import stages_of
from ubm_embed.training.pretraining.schedule import batches
from ubm_embed.training.pretraining.stages import Stage

NAME = "pretraining_speed"
KINDS = (OURS, SENTENCE_TRANSFORMERS, *PADDINGS)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report: raw figures of both stages."""
    name = options.corpus.name if options.corpus else None
    left_out = lacking_packages() if SENTENCE_TRANSFORMERS in options.forms else []
    if left_out:
        print(f"left out: {SENTENCE_TRANSFORMERS}; pip install {' '.join(left_out)}", file=sys.stderr)
        options.forms = [form for form in options.forms if form != SENTENCE_TRANSFORMERS]
    settings = {**vars(options), "corpus": name or "sample shop", "threads": torch.get_num_threads()}
    del settings["out"], settings["show"]
    report = heading(f"{NAME}_{name}" if name else NAME, settings, packages=PACKAGES)
    report["lacking"] = left_out
    report["ceiling"] = {precision: ceiling(options.device, precision) for precision in options.precisions}
    corpus = open_corpus(options)
    model, tokenizer = starting_model(corpus, options)
    stir(model)
    config = config_of(options)
    stages = stages_of(TokenizedCorpus.of(corpus, tokenizer), tokenizer, config)
    report["corpus"] = {"products": corpus.products.height, "sessions": corpus.sessions, "tokens": tokenizer.vocab_size}
    report["stages"] = [measure_stage(stage, model, tokenizer, config, options) for stage in stages]
    return report


def config_of(options: argparse.Namespace) -> PretrainingConfig:
    """The settings of every form."""
    return PretrainingConfig(
        stages=tuple(options.stages),
        item_batch=options.item_batch,
        session_batch=options.session_batch,
        seed=options.seed,
        max_steps=options.steps + 1,  # one warms up
        epochs=options.steps + 1,  # enough of them, however small the corpus is
        item_actions=False,  # the plain form is the paper's
    )


def measure_stage(
    stage: Stage,
    model: UserBehaviorModel,
    tokenizer: InteractionTokenizer,
    config: PretrainingConfig,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """What each form's step read and how long it took, round by round; the first round warms up.

    Raises:
        QualityGateFailed: the forms' losses differ with dropout off.
    """
    steps = [Step.read(stage, chosen, number, config.seed) for number, chosen in batches(stage, config)]
    padded = forms_of(options.forms, options.precisions, model, stage.number, config)
    with _trainer_forms(stage, model, tokenizer, config, options, steps) as trainers:
        forms: list[Form] = [*padded, *trainers]
        reference = ModelForm(OURS, "float32", model, config)
        losses = equal_losses(forms, reference, steps[0].views)
        rounds = [_round(stage, number, step, forms) for number, step in enumerate(steps)]
    return {
        "stage": stage.number,
        "losses_without_dropout": losses,
        "warm_up": rounds[0],
        "rounds": rounds[1:],
        "paper_batch": _at_paper_batch(padded, stage, config),
    }


@contextlib.contextmanager
def _trainer_forms(
    stage: Stage,
    model: UserBehaviorModel,
    tokenizer: InteractionTokenizer,
    config: PretrainingConfig,
    options: argparse.Namespace,
    steps: Sequence[Step],
) -> Iterator[list[TrainerForm]]:
    """Of stage 1 alone: sentence-transformers knows no sessions."""
    wanted = stage.number == 1 and SENTENCE_TRANSFORMERS in options.forms
    views = [step.views for step in steps]
    precisions = options.precisions if wanted else ()
    forms = [TrainerForm(precision, model, tokenizer, config, views) for precision in precisions]
    try:
        yield forms
    finally:
        for form in forms:
            form.close()


def _round(stage: Stage, number: int, step: Step, forms: Sequence[Form]) -> dict[str, Any]:
    """One step of each form, in an order drawn for the round.

    Ours and the padded forms read by our code; drawing their views counts as reading, too.
    """
    taken: dict[str, Any] = dict.fromkeys(map(name_of, forms))
    for place in np.random.default_rng(number).permutation(len(forms)):
        figures = forms[place].take(step.views)
        if isinstance(forms[place], ModelForm):
            figures["reading_seconds"] += step.reading_seconds
        taken[name_of(forms[place])] = figures
    seconds = ", ".join(f"{name} {figures['seconds']:.2f} s" for name, figures in taken.items())
    print(f"stage {stage.number}, {f'round {number}' if number else 'warm-up'}: {seconds}", file=sys.stderr, flush=True)
    return {"examples": step.examples, "forms": taken}


def _at_paper_batch(forms: Sequence[ModelForm], stage: Stage, config: PretrainingConfig) -> dict[str, Any]:
    """What ours and each padded form would encode of a batch as large as the paper's: counted, not run."""
    size = PretrainingConfig.item_batch if stage.number == 1 else PretrainingConfig.session_batch
    chosen = stage.epoch(np.random.default_rng([config.seed, stage.number]))[:size]
    views = Step.read(stage, chosen, 0, config.seed).views
    return {"examples": chosen.size, "forms": {form.kind: form.work(form.lay_out(views)) for form in forms}}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}", description=__doc__)
    add = parser.add_argument
    add("--corpus", type=Path, metavar="DIR", help="a corpus folder; else a sample shop is made")
    add("--products", type=int, default=20_000, help="products of the sample shop")
    add("--sessions", type=int, default=5_000, help="sessions of the sample shop")
    add("--forms", nargs="+", choices=KINDS, default=KINDS, help="forms to compare; ours is always one")
    add("--precisions", nargs="+", choices=("float32", "bfloat16"), help="number formats; else all that are fast here")
    add("--stages", nargs="+", type=int, choices=(1, 2), default=(1, 2))
    add("--steps", type=int, default=3, help="timed steps of each form and stage, after one to warm up")
    add("--item-batch", type=int, default=64, help="pairs a step in stage 1")
    add("--session-batch", type=int, default=16, help="sessions a step in stage 2")
    add("--layers", type=int, default=4, help="layers of each encoder")
    add("--width", type=int, default=256, help="width of both encoders")
    add("--device", default="cpu")
    add("--seed", type=int, default=0)
    add("--out", type=Path, metavar="FILE", help=f"where to write; else benchmarks/results/{NAME}[_CORPUS].json")
    add("--show", type=Path, metavar="FILE", help="print the table of this report and measure nothing")
    options = parser.parse_args(arguments)
    if options.steps < 1:
        parser.error(f"--steps must be at least 1, got {options.steps}")
    options.forms = [form for form in KINDS if form in (OURS, *options.forms)]
    fast = ("bfloat16", "float32") if computes_bfloat16(torch.device(options.device)) else ("float32",)
    # What `auto` takes comes first: it is what the others are held against.
    options.precisions = [name for name in ("bfloat16", "float32") if name in (options.precisions or fast)]
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, keep the report, print its table; or print that of a kept one."""
    options = parse(arguments)
    report = kept_or_measured(options, measure)
    print(f"{table(report)}\n\n{notes(report)}")


if __name__ == "__main__":
    main()
