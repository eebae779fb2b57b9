"""How many products are embedded a second: our runtimes against sentence-transformers with the same weights?

All take turns over the same catalogue, with the same number of threads, and their vectors are compared with float32's.
benchmarks/embedding/README.md says what the figures mean.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
import torch
from torch.nn.functional import normalize

from benchmarks.command_line import (
    add_corpus_options,
    add_quick_option,
    load_or_measure,
    parse_with_quick,
    runner_parser,
    settings_of,
)
from benchmarks.embedding.rivals import VARIANTS, Rival, versions, write_home
from benchmarks.report import markdown_table, report_header
from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.batches.distinct_batches import NO_ACTION, interaction_sequences
from ubm_embed.data.batches.packing import TokenBatch
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.errors import NotFound, QualityGateFailed
from ubm_embed.inference.embedder import Embedder
from ubm_embed.inference.process import set_up_process
from ubm_embed.inference.runtimes.agreement import Agreement
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.inference.runtimes.selection import SelectionRules, benchmark_runtimes, sample_of
from ubm_embed.inference.runtimes.torch_model import TorchModel
from ubm_embed.model.checkpoint import Checkpoint

NAME = "embedding_speed"
DEFAULT = VARIANTS[0].name
# Reports before 2026-11-30 -> today's.
OLD_KEYS = {"different": "distinct", "least_cosine": "min_cosine", "takes": "runtime"}
QUICK: dict[str, Any] = {"products": 1000, "rounds": 2, "runtimes": ["torch"], "rivals": []}


class Ours:
    """One of our runtimes, from the catalogue's text to vectors."""

    def __init__(self, checkpoint: Checkpoint, name: RuntimeName, products: pl.DataFrame) -> None:
        self._embedder = Embedder(checkpoint, device="cpu", runtime=name)
        self._products, self.vectors = products, np.empty((0, 0), np.float32)

    def seconds(self) -> float:
        """Seconds for embedding all products once."""
        started = time.perf_counter()
        self.vectors = self._embedder.embed_products(self._products)
        return time.perf_counter() - started


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report: seconds of each row in each round, and the agreement of its vectors with float32."""
    torch.set_num_threads(options.threads)
    settings = settings_of(options, without=("model", "rival_python"))
    report = report_header(NAME, settings, packages=("onnxruntime", "openvino", "nncf"))
    checkpoint = Checkpoint.from_pretrained(options.model)
    products = open_products(options)
    sequences = product_sequences(checkpoint, products)
    report["catalogue"] = {
        "products": products.height,
        "distinct": len(sequences.distinct()[0]),
        "tokens": float(sequences.lengths.mean()),
    }
    report["rival_versions"] = versions(options.rival_python)
    # Building and timing all runtimes takes 20 s, so only a full comparison also asks what `auto` chooses.
    report["auto"] = _choice_of_auto(checkpoint, sequences) if len(options.runtimes) == len(RuntimeName) - 1 else None
    report["rows"], report["left_out"] = {}, {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        write_home(Path(folder), checkpoint, sequences)
        rows = dict(_our_rows(checkpoint, products, options.runtimes, report["left_out"]))
        rivals = dict(_rivals(options, Path(folder), stack, report["left_out"]))
        seconds = _rounds({**rows, **rivals}, options.rounds)
        exact = rows[str(RuntimeName.TORCH)].vectors
        for name, row in rows.items():
            report["rows"][name] = _figures(seconds[name], exact, row.vectors)
        expected = interaction_vectors(checkpoint, sequences)
        for name, rival in rivals.items():
            report["rows"][name] = _figures(seconds[name], expected, rival.vectors())
    return report


def open_products(options: argparse.Namespace) -> pl.DataFrame:
    """The first products of `--corpus`, else those of a sample shop."""
    if options.corpus:
        return Corpus.open(options.corpus).products.head(options.products)
    with tempfile.TemporaryDirectory() as folder:
        write_sample_shop(Path(folder) / "shop", products=options.products, sessions=10, seed=options.seed)
        return Corpus.open(Path(folder) / "shop").products


def product_sequences(checkpoint: Checkpoint, products: pl.DataFrame) -> TokenTable:
    """The token sequence of each product: `[CLS] text [SEP]`."""
    texts, rows = checkpoint.tokenizer.product_texts(products), np.arange(products.height)
    return interaction_sequences(checkpoint.tokenizer, texts, np.full(rows.size, NO_ACTION), rows)


@torch.inference_mode()
def interaction_vectors(checkpoint: Checkpoint, sequences: TokenTable) -> FloatArray:
    """The vectors expected of sentence-transformers, those of the interaction encoder alone in float32: [M, D]."""
    vectors = torch.empty(len(sequences), checkpoint.model.config.dimension)
    for part in sequences.batches(8192):
        tokens = TokenBatch.from_table(sequences.take(part))
        vectors[part] = normalize(checkpoint.products.model.interaction_encoder(tokens), dim=1)
    array: FloatArray = vectors.numpy()
    return array


def _choice_of_auto(checkpoint: Checkpoint, sequences: TokenTable) -> dict[str, Any]:
    """The runtime that `--runtime auto` takes for this catalogue, and the time for finding it."""
    started = time.perf_counter()
    exact = TorchModel(checkpoint.products.model)
    results = benchmark_runtimes(checkpoint.products, exact, sample_of(sequences.distinct()[0]), "cpu")
    return {
        "runtime": str(SelectionRules().fastest(results).runtime.name),
        "seconds": time.perf_counter() - started,
        "sample": {str(one.runtime.name): one.seconds for one in results},
    }


def _our_rows(
    checkpoint: Checkpoint, products: pl.DataFrame, runtimes: Sequence[str], left_out: dict[str, str]
) -> Iterator[tuple[str, Ours]]:
    """Each of these runtimes that this machine has, after a warm-up."""
    for name in runtimes:
        row = Ours(checkpoint, RuntimeName(name), products)
        try:
            print(f"{name}: warm-up {row.seconds():.1f} s", file=sys.stderr, flush=True)
        except (NotFound, QualityGateFailed) as error:
            left_out[name] = str(error)
            continue
        yield name, row


def _rivals(
    options: argparse.Namespace, home: Path, stack: ExitStack, left_out: dict[str, str]
) -> Iterator[tuple[str, Rival]]:
    """Each of the rivals that the interpreter has, after a warm-up."""
    for variant in (variant for variant in VARIANTS if variant.name in options.rivals):
        try:
            rival = stack.enter_context(Rival(variant, options.rival_python, home, options.threads))
            print(f"{variant.name}: warm-up {rival.seconds():.1f} s", file=sys.stderr, flush=True)
        except RuntimeError as error:
            left_out[variant.name] = str(error)
            continue
        yield variant.name, rival


def _rounds(rows: dict[str, Any], rounds: int) -> dict[str, list[float]]:
    """Seconds of each row in each round; the rows take turns."""
    times: dict[str, list[float]] = {name: [] for name in rows}
    for number in range(rounds):
        for name, row in rows.items():
            times[name].append(row.seconds())
        line = ", ".join(f"{name} {seconds[-1]:.2f} s" for name, seconds in times.items())
        print(f"round {number + 1}: {line}", file=sys.stderr, flush=True)
    return times


def _figures(seconds: list[float], exact: FloatArray, vectors: FloatArray) -> dict[str, Any]:
    agreement = Agreement.from_vectors(exact, vectors)
    mean = float(np.einsum("md,md->m", exact, vectors).mean())
    return {"seconds": seconds, "cosine": mean, "min_cosine": agreement.min_cosine, "nearest": agreement.nearest}


def table(report: dict[str, Any]) -> str:
    """The table of a report: medians over the rounds."""
    columns = ("encoder", "products/s", "of the default", "cosine", "min", "ten nearest")
    return markdown_table(columns, [_cells(report, name) for name in report["rows"]])


def _cells(report: dict[str, Any], name: str) -> tuple[str, ...]:
    row, base = report["rows"][name], report["rows"].get(DEFAULT)
    times = row["seconds"]
    ratio = median(b / s for b, s in zip(base["seconds"], times, strict=True)) if base else None
    return (
        name,
        f"{report['catalogue']['products'] / median(times):,.0f}",
        "" if ratio is None else f"{ratio:.2f} x",
        f"{row['cosine']:.5f}",
        f"{row['min_cosine']:.5f}",
        f"{row['nearest']:.1%}",
    )


def notes(report: dict[str, Any]) -> str:
    """What else to know of the table, as a list."""
    catalogue = report["catalogue"]
    lines = [
        f"- {report['settings']['corpus']}: {catalogue['products']:,} products, {catalogue['distinct']:,} distinct "
        f"texts, {catalogue['tokens']:.1f} tokens each; {report['settings']['threads']} threads."
    ]
    if auto := report["auto"]:
        lines += [f"- `--runtime auto` takes {auto['runtime']}, and {auto['seconds']:.0f} s to make and try them all."]
    lines += [f"- Left out: {name}: {why}" for name, why in report["left_out"].items()]
    return "\n".join(lines)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = runner_parser(f"embedding.{NAME}", __doc__)
    add_corpus_options(parser, products=2000)
    add_quick_option(parser, QUICK)
    add = parser.add_argument
    runtimes = [str(name) for name in RuntimeName if name is not RuntimeName.AUTO]
    names = [variant.name for variant in VARIANTS]
    add("--model", type=Path, metavar="DIR", help="a trained model: random weights say little about 8 bits")
    add("--runtimes", nargs="+", choices=runtimes, default=runtimes, help="runtimes of ours, always with torch")
    add("--rivals", nargs="*", choices=names, default=names, help="variants of sentence-transformers")
    add("--rounds", type=int, default=3, help="timed rounds, after a warm-up")
    add("--threads", type=int, default=torch.get_num_threads(), help="threads of every row")
    add("--rival-python", default=sys.executable, metavar="FILE", help="an interpreter with sentence-transformers")
    add("--seed", type=int, default=0)
    options = parse_with_quick(parser, QUICK, arguments)
    if options.show is None and options.model is None:
        parser.error("--model DIR is required, such as HOME/model of benchmarks.retrieval.trained_shop")
    options.runtimes = [name for name in runtimes if name in (str(RuntimeName.TORCH), *options.runtimes)]
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its table; or print the table of a saved one."""
    set_up_process()
    report = load_or_measure(parse(arguments), measure, OLD_KEYS)
    print(f"{table(report)}\n\n{notes(report)}")


if __name__ == "__main__":
    main()
