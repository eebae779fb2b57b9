"""How long does the paper's whole pre-training take here: a step of each stage and batch size, and an epoch of both?

python -m benchmarks.training.paper_pretraining --device cuda [--compile]

The paper read 2.95 million sessions in 12 hours on four V100s. Here the training loop of `ubm-embed pretrain` reads
sessions of the sample shop with the paper's settings. An epoch is extrapolated from the steady state and marked so;
--whole times an epoch of all sessions instead. With enough --sessions for 2.95 million to train on, nothing is
extrapolated.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.command_line import add_corpus_options, add_model_options, load_or_measure, runner_parser, settings_of
from benchmarks.report import markdown_table, report_header, write_report
from benchmarks.training.flops import parse_shape, peak_flops
from benchmarks.training.steady_state import observe
from benchmarks.training.training_input import open_corpus, starting_model
from ubm_embed.data.batches.session_table import MAX_INTERACTIONS
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.model.device import computes_bfloat16
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.pretrain import stages_of, training_sessions

NAME = "paper_pretraining"
PAPER_SESSIONS = 2_950_000
UNITS = {1: "pairs", 2: "sessions"}
COLUMNS = (
    "stage, batch",
    "s a step",
    "examples/s",
    "tokens/s",
    "of it reading",
    "of the ceiling",
    "peak GB",
    "the paper's epoch, minutes",
)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report; rewritten after every row, so that an interrupted run leaves the rows it has."""
    settings = {**settings_of(options), "threads": torch.get_num_threads()}
    report = report_header(NAME, settings)
    precision = "bfloat16" if computes_bfloat16(torch.device(options.device)) else "float32"
    peak = peak_flops(options.device, precision, options.ceiling_shapes)
    report |= {"precision": precision, "ceiling": peak}
    shop = TrainingShop.open(options)
    report |= {"paper_sessions": options.paper_sessions, "sessions": shop.sessions(), "rows": []}
    for compiled, stage, batch in rows_of(options):
        row = {"stage": stage, "batch": batch, "compiled": compiled}
        print(row, file=sys.stderr, flush=True)
        report["rows"].append(row | shop.measure(stage, batch, compiled))
        write_report(report, options.out)
    return report


def rows_of(options: argparse.Namespace) -> Iterator[tuple[bool, int, int]]:
    """(compiled, stage, batch) of each row: not compiled first, small batches first, the stages alternating."""
    stages = [[(1, batch) for batch in options.item_batches], [(2, batch) for batch in options.session_batches]]
    for compiled in (False, True) if options.compile else (False,):
        for pair in zip_longest(*stages):
            yield from ((compiled, *row) for row in pair if row is not None)


@dataclass(frozen=True)
class TrainingShop:
    """The corpus that every row trains on, and the model that it starts from."""

    tokenized: TokenizedCorpus
    tokenizer: InteractionTokenizer
    model: UserBehaviorModel
    options: argparse.Namespace

    @classmethod
    def open(cls, options: argparse.Namespace) -> TrainingShop:
        """The corpus of the options, and a model of their size."""
        corpus = open_corpus(options)
        model, tokenizer = starting_model(corpus, options)
        return cls(TokenizedCorpus.from_corpus(corpus, tokenizer), tokenizer, model, options)

    def config(self, stage: int, batch: int) -> PretrainingConfig:
        """The paper's settings: no actions in stage 1, all pairs of neighbours, sessions traced back from purchases."""
        steps = None if self.options.whole else self.options.warm_up + self.options.steps
        return PretrainingConfig(
            stages=(stage,),
            item_batch=batch,
            session_batch=batch,
            epochs=1 if steps is None else steps,  # enough for any number of sessions
            max_steps=steps,
            pairs_per_session=MAX_INTERACTIONS - 1,
            item_actions=False,
            purchases_only=True,
            holdout=0.0,
            chunk_tokens=self.options.chunk_tokens,
            seed=self.options.seed,
        )

    def sessions(self) -> int:
        """The number of training sessions."""
        return len(training_sessions(self.tokenized, self.config(2, 2)))

    def measure(self, stage: int, batch: int, compiled: bool) -> dict[str, Any]:
        """The figures of one row, or why it failed."""
        config = self.config(stage, batch)
        (training_stage,) = stages_of(self.tokenized, self.tokenizer, config)
        examples = training_stage.epoch(np.random.default_rng(0)).size
        if examples < batch:
            return {"failed": f"an epoch has only {examples:,} examples"}
        try:
            measured = observe(self._model(compiled), training_stage, config)
        except Exception as error:  # out of memory, or any error of a compiler: the other rows do not need this one
            return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
        return {**measured, **self._epoch(measured["steps"], examples)}

    def _model(self, compiled: bool) -> UserBehaviorModel:
        model = copy.deepcopy(self.model)
        if compiled:
            model.interaction_encoder.compile(dynamic=True)
            model.session_encoder.compile(dynamic=True)
        return model

    def _epoch(self, steps: Sequence[dict[str, Any]], examples: int) -> dict[str, Any]:
        """Seconds of an epoch of the paper's sessions, from steps over ours, whose epoch has `examples` examples."""
        ratio = self.options.paper_sessions / self.sessions()
        if self.options.whole:
            return {"epoch_seconds": ratio * sum(step["seconds"] for step in steps), "extrapolated": ratio > 1}
        steady = steps[self.options.warm_up :]
        cost = median(step["seconds"] / step["examples"] for step in steady)
        return {"epoch_seconds": ratio * examples * cost, "extrapolated": True}


def table(report: dict[str, Any]) -> str:
    """A row for each stage and batch size; figures are medians over the steps after the warm-up."""
    return markdown_table(COLUMNS, [_row(row, report) for row in report["rows"]])


def _row(row: dict[str, Any], report: dict[str, Any]) -> tuple[str, ...]:
    name = f"{row['stage']}, {row['batch']:,} {UNITS[row['stage']]}{', compiled' if row['compiled'] else ''}"
    if "failed" in row:
        return (name, "failed", *[""] * (len(COLUMNS) - 2))
    steps = _steady(row, report)
    return (
        name,
        f"{median(step['seconds'] for step in steps):.3f}",
        f"{median(step['examples'] / step['seconds'] for step in steps):,.0f}",
        f"{median(step['tokens'] / step['seconds'] for step in steps):,.0f}",
        f"{median(step['reading_seconds'] / step['seconds'] for step in steps):.0%}",
        f"{median(step['flops'] / step['seconds'] for step in steps) / report['ceiling']['flops']:.1%}",
        "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e9:.1f}",
        f"{row['epoch_seconds'] / 60:.1f}{' (extrapolated)' if row['extrapolated'] else ''}",
    )


def _steady(row: dict[str, Any], report: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps after the warm-up."""
    steps: list[dict[str, Any]] = row["steps"][report["settings"]["warm_up"] :]
    return steps or row["steps"]


def notes(report: dict[str, Any]) -> str:
    """What else to know of the table, as a list."""
    return "\n".join(_notes(report))


def _notes(report: dict[str, Any]) -> Iterator[str]:
    yield (
        f"- The ceiling is {report['ceiling']['flops'] / 1e12:,.1f} TFLOP/s, of a large matrix product in "
        f"{report['precision']} in the same run. Of a step's operations only those for real tokens count."
    )
    yield from (
        f"- Failed: stage {row['stage']}, {row['batch']:,}{', compiled' if row['compiled'] else ''}: {row['failed']}"
        for row in report["rows"]
        if "failed" in row
    )
    yield from (
        f"- Compiled: the first step of stage {row['stage']}, {row['batch']:,} took {row['steps'][0]['seconds']:.0f} s."
        for row in report["rows"]
        if row["compiled"] and "failed" not in row
    )
    yield f"- The paper's epoch has {report['paper_sessions']:,} sessions; this run had {report['sessions']:,}."
    yield from _whole("at the paper's batches", [row for row in report["rows"] if row["batch"] in (512, 128)])
    yield from _whole("at the fastest batches", report["rows"])


def _whole(batches: str, rows: list[dict[str, Any]]) -> Iterator[str]:
    """The time of both stages, each at the fastest of these rows."""
    done = [row for row in rows if "failed" not in row]
    best = [
        min((row for row in done if row["stage"] == stage), key=lambda row: float(row["epoch_seconds"]), default=None)
        for stage in (1, 2)
    ]
    if best[0] is not None and best[1] is not None:
        seconds = [float(row["epoch_seconds"]) for row in best if row is not None]
        how = "extrapolated" if any(row["extrapolated"] for row in best if row is not None) else "timed"
        yield (
            f"- Both stages {batches}, {how}: {sum(seconds) / 60:.1f} minutes "
            f"({seconds[0] / 60:.1f} and {seconds[1] / 60:.1f})."
        )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = runner_parser(f"training.{NAME}", __doc__)
    add_corpus_options(parser, products=50_000, sessions=60_000)
    add_model_options(parser)
    add = parser.add_argument
    add("--item-batches", nargs="+", type=int, default=[512, 2048, 8192], help="pairs a step in stage 1")
    add("--session-batches", nargs="+", type=int, default=[128, 1024, 8192], help="sessions a step in stage 2")
    add("--chunk-tokens", type=int, metavar="N", help="as in `ubm-embed pretrain`; default: what suits the device")
    add("--steps", type=int, default=10, help="timed steps of each row")
    add("--warm-up", type=int, default=3, help="steps before them")
    add("--whole", action="store_true", help="time an epoch of all sessions instead of some steps")
    add("--compile", action="store_true", help="repeat each row with both encoders compiled")
    add("--ceiling-shapes", nargs="+", type=parse_shape, metavar="RxIxC", help="matrix products that set the ceiling")
    add("--paper-sessions", type=int, default=PAPER_SESSIONS, help="sessions of the epoch that is extrapolated to")
    add("--device", default="cpu")
    add("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.steps < 1:
        parser.error(f"--steps must be at least 1, got {options.steps}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its table; or print the table of a saved one."""
    report = load_or_measure(parse(arguments), measure)
    print(f"{table(report)}\n\n{notes(report)}")


if __name__ == "__main__":
    main()
