"""The whole of the paper's pre-training: what a step of each stage takes, batch by batch, and so one epoch of both.

python -m benchmarks.training.paper_pretraining --device cuda [--compile]

The paper read 2.95 million sessions for 12 hours on four V100s. Here the sample shop makes sessions, of up to 32
interactions of up to 64 tokens, and the training loop of `ubm-embed pretrain` reads them with the paper's settings.
What is not timed to its end is extrapolated from the steady state, and marked so. --whole times an epoch of all
sessions instead; with --sessions enough for 2.95 million to train on, nothing is extrapolated.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.report import heading, kept_or_measured, write_report
from benchmarks.training.ceiling import ceiling
from benchmarks.training.paper_pretraining_table import notes, table
from benchmarks.training.steady_state import watch
from benchmarks.training.training_input import open_corpus, starting_model
from ubm_embed.data.batches.session_table import MAX_INTERACTIONS
from ubm_embed.data.batches.tokenized_corpus import TokenizedCorpus
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.model.precision import computes_bfloat16
from ubm_embed.model.user_behavior_model import UserBehaviorModel
from ubm_embed.training.pretraining.config import PretrainingConfig
from ubm_embed.training.pretraining.pretrain import stages_of, training_sessions

NAME = "paper_pretraining"
PAPER_SESSIONS = 2_950_000


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report; written anew after every row, so that a run that is cut off leaves what it has."""
    settings = {**vars(options), "corpus": "sample shop", "threads": torch.get_num_threads()}
    del settings["out"], settings["show"]
    report = heading(NAME, settings)
    precision = "bfloat16" if computes_bfloat16(torch.device(options.device)) else "float32"
    report |= {"precision": precision, "ceiling": ceiling(options.device, precision)}
    shop = Shop.made(options)
    report |= {"paper_sessions": PAPER_SESSIONS, "sessions": shop.sessions(), "rows": []}
    for compiled, stage, batch in rows_of(options):
        what = {"stage": stage, "batch": batch, "compiled": compiled}
        print(what, file=sys.stderr, flush=True)
        report["rows"].append(what | shop.row(stage, batch, compiled))
        write_report(report, options.out)
    return report


def rows_of(options: argparse.Namespace) -> Iterator[tuple[bool, int, int]]:
    """(compiled, stage, batch): as it is first, small batches first, the stages in turns."""
    stages = [[(1, batch) for batch in options.item_batches], [(2, batch) for batch in options.session_batches]]
    for compiled in (False, True) if options.compile else (False,):
        for turn in zip_longest(*stages):
            yield from ((compiled, *row) for row in turn if row is not None)


@dataclass(frozen=True)
class Shop:
    """What every row trains on, and the model that it starts from."""

    tokenized: TokenizedCorpus
    tokenizer: InteractionTokenizer
    model: UserBehaviorModel
    options: argparse.Namespace

    @classmethod
    def made(cls, options: argparse.Namespace) -> Shop:
        """As large as asked for."""
        corpus = open_corpus(options)
        model, tokenizer = starting_model(corpus, options)
        return cls(TokenizedCorpus.of(corpus, tokenizer), tokenizer, model, options)

    def config(self, stage: int, batch: int) -> PretrainingConfig:
        """The paper's settings: products alone, every pair of neighbours, purchases traced back."""
        steps = None if self.options.whole else self.options.warm_up + self.options.steps
        return PretrainingConfig(
            stages=(stage,),
            item_batch=batch,
            session_batch=batch,
            epochs=1 if steps is None else steps,  # enough of them, however few sessions there are
            max_steps=steps,
            pairs_per_session=MAX_INTERACTIONS - 1,
            item_actions=False,
            purchases_only=True,
            holdout=0.0,
            chunk_tokens=self.options.chunk_tokens,
            seed=self.options.seed,
        )

    def sessions(self) -> int:
        """Those that are trained on."""
        return len(training_sessions(self.tokenized, self.config(2, 2)))

    def row(self, stage: int, batch: int, compiled: bool) -> dict[str, Any]:
        """What was measured at one batch, or why it could not be."""
        config = self.config(stage, batch)
        (only,) = stages_of(self.tokenized, self.tokenizer, config)
        examples = only.epoch(np.random.default_rng(0)).size
        if examples < batch:
            return {"failed": f"an epoch has {examples:,} examples alone"}
        try:
            measured = watch(self._model(compiled), only, config)
        except Exception as error:  # out of memory, or whatever a compiler says: the other rows stand without this one
            return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
        return {**measured, **self._epoch(measured["steps"], examples)}

    def _model(self, compiled: bool) -> UserBehaviorModel:
        model = copy.deepcopy(self.model)
        if compiled:
            model.interaction_encoder.compile(dynamic=True)
            model.session_encoder.compile(dynamic=True)
        return model

    def _epoch(self, steps: Sequence[dict[str, Any]], examples: int) -> dict[str, Any]:
        """One epoch of the paper's sessions, from the steps of ours, an epoch of which has so many `examples`."""
        more = PAPER_SESSIONS / self.sessions()
        if self.options.whole:
            return {"epoch_seconds": more * sum(step["seconds"] for step in steps), "extrapolated": more > 1}
        steady = steps[self.options.warm_up :]
        cost = median(step["seconds"] / step["examples"] for step in steady)
        return {"epoch_seconds": more * examples * cost, "extrapolated": True}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{NAME}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--products", type=int, default=50_000, help="products of the sample shop")
    add("--sessions", type=int, default=60_000, help="sessions of the sample shop; some of them buy nothing")
    add("--item-batches", nargs="+", type=int, default=[512, 2048, 8192], help="pairs a step in stage 1")
    add("--session-batches", nargs="+", type=int, default=[128, 1024, 8192], help="sessions a step in stage 2")
    add("--chunk-tokens", type=int, metavar="N", help="as of `ubm-embed pretrain`; else what suits the device")
    add("--steps", type=int, default=10, help="timed steps of each row")
    add("--warm-up", type=int, default=3, help="steps before them")
    add("--whole", action="store_true", help="time an epoch of all sessions instead of some steps")
    add("--compile", action="store_true", help="each row again, with both encoders compiled")
    add("--layers", type=int, default=4, help="layers of each encoder")
    add("--width", type=int, default=256, help="width of both encoders")
    add("--device", default="cpu")
    add("--seed", type=int, default=0)
    add("--out", type=Path, metavar="FILE", help=f"where to write; else benchmarks/results/{NAME}.json")
    add("--show", type=Path, metavar="FILE", help="print the table of this report and measure nothing")
    options = parser.parse_args(arguments)
    options.corpus = None
    if options.steps < 1:
        parser.error(f"--steps must be at least 1, got {options.steps}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, keep the report, print its table; or print that of a kept one."""
    report = kept_or_measured(parse(arguments), measure)
    print(f"{table(report)}\n\n{notes(report)}")


if __name__ == "__main__":
    main()
