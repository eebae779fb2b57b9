"""How many products a second are embedded: our encoders against sentence-transformers with the same weights.

All take turns over the same catalogue, on the same number of threads; each one's vectors are held against float32's.
benchmarks/README.md says what the figures mean.
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

from benchmarks.command_line import load_or_measure
from benchmarks.embedding.rivals import FORMS, Rival, versions, write_home
from benchmarks.report import markdown_table, report_header
from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.batches.distinct_batches import NO_ACTION, interaction_sequences
from ubm_embed.data.batches.packing import TokenBatch
from ubm_embed.data.corpus import Corpus
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.errors import NotFound, QualityGateFailed
from ubm_embed.inference.embedder import Embedder
from ubm_embed.inference.runtimes.agreement import Agreement
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.inference.runtimes.selection import benchmark_runtimes, fastest, sample_of
from ubm_embed.model.checkpoint import Checkpoint

NAME = "embedding_speed"
DEFAULT = FORMS[0].name


class Ours:
    """One of our encoders, from the catalogue's text to vectors."""

    def __init__(self, checkpoint: Checkpoint, name: RuntimeName, products: pl.DataFrame) -> None:
        self._embedder = Embedder(checkpoint, device="cpu", runtime=name)
        self._products, self.vectors = products, np.empty((0, 0), np.float32)

    def seconds(self) -> float:
        """Of embedding all products once."""
        started = time.perf_counter()
        self.vectors = self._embedder.embed_products(self._products)
        return time.perf_counter() - started


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report: seconds of each row in each round, and how its vectors agree with float32's."""
    torch.set_num_threads(options.threads)
    settings = {**vars(options), "corpus": options.corpus.name if options.corpus else "sample shop"}
    for path in ("out", "show", "model", "rival_python"):
        del settings[path]
    report = report_header(NAME, settings, packages=("onnxruntime", "openvino", "nncf"))
    checkpoint = Checkpoint.from_pretrained(options.model)
    products = open_products(options)
    sequences = product_sequences(checkpoint, products)
    report["catalogue"] = {
        "products": products.height,
        "different": len(sequences.distinct()[0]),
        "tokens": float(sequences.lengths.mean()),
    }
    report["rival_versions"] = versions(options.rival_python)
    report["auto"] = _auto(checkpoint, sequences)
    report["rows"], report["left_out"] = {}, {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        write_home(Path(folder), checkpoint, sequences)
        rows = dict(_ours(checkpoint, products, report["left_out"]))
        rivals = dict(_rivals(options, Path(folder), stack, report["left_out"]))
        taken = _rounds({**rows, **rivals}, options.rounds)
        exact = rows[str(RuntimeName.TORCH)].vectors
        for name, row in rows.items():
            report["rows"][name] = _described(taken[name], exact, row.vectors)
        theirs = interaction_vectors(checkpoint, sequences)
        for name, rival in rivals.items():
            report["rows"][name] = _described(taken[name], theirs, rival.vectors())
    return report


def open_products(options: argparse.Namespace) -> pl.DataFrame:
    """The first products of the catalogue asked for, else of a sample shop."""
    if options.corpus:
        return Corpus.open(options.corpus).products.head(options.products)
    with tempfile.TemporaryDirectory() as folder:
        write_sample_shop(Path(folder) / "shop", products=options.products, sessions=10, seed=options.seed)
        return Corpus.open(Path(folder) / "shop").products


def product_sequences(checkpoint: Checkpoint, products: pl.DataFrame) -> TokenTable:
    """What is read of each product: `[CLS] text [SEP]`."""
    texts, rows = checkpoint.tokenizer.product_texts(products), np.arange(products.height)
    return interaction_sequences(checkpoint.tokenizer, texts, np.full(rows.size, NO_ACTION), rows)


@torch.inference_mode()
def interaction_vectors(checkpoint: Checkpoint, sequences: TokenTable) -> FloatArray:
    """What sentence-transformers is to find: unit vectors of the interaction encoder alone, in float32: [M, D]."""
    vectors = torch.empty(len(sequences), checkpoint.model.config.dimension)
    for part in sequences.batches(8192):
        tokens = TokenBatch.from_table(sequences.take(part))
        vectors[part] = normalize(checkpoint.products.model.interaction_encoder(tokens), dim=1)
    found: FloatArray = vectors.numpy()
    return found


def _auto(checkpoint: Checkpoint, sequences: TokenTable) -> dict[str, Any]:
    """What `--runtime auto` takes for this catalogue, and what it tries for it."""
    started = time.perf_counter()
    trials = benchmark_runtimes(checkpoint.products.model, sample_of(sequences.distinct()[0]))
    return {
        "takes": str(fastest(trials).engine.name),
        "seconds": time.perf_counter() - started,
        "sample": {str(one.engine.name): one.seconds for one in trials},
    }


def _ours(checkpoint: Checkpoint, products: pl.DataFrame, left_out: dict[str, str]) -> Iterator[tuple[str, Ours]]:
    """Each of our encoders that this machine has, warm."""
    for name in (name for name in RuntimeName if name is not RuntimeName.AUTO):
        row = Ours(checkpoint, name, products)
        try:
            print(f"{name}: first time {row.seconds():.1f} s", file=sys.stderr, flush=True)
        except (NotFound, QualityGateFailed) as error:
            left_out[str(name)] = str(error)
            continue
        yield str(name), row


def _rivals(
    options: argparse.Namespace, home: Path, stack: ExitStack, left_out: dict[str, str]
) -> Iterator[tuple[str, Rival]]:
    """Each rival that its interpreter has, warm."""
    for form in FORMS:
        try:
            rival = stack.enter_context(Rival(form, options.rival_python, home, options.threads))
            print(f"{form.name}: first time {rival.seconds():.1f} s", file=sys.stderr, flush=True)
        except RuntimeError as error:
            left_out[form.name] = str(error)
            continue
        yield form.name, rival


def _rounds(rows: dict[str, Any], rounds: int) -> dict[str, list[float]]:
    """Seconds of each row, taking turns."""
    taken: dict[str, list[float]] = {name: [] for name in rows}
    for number in range(rounds):
        for name, row in rows.items():
            taken[name].append(row.seconds())
        said = ", ".join(f"{name} {seconds[-1]:.2f} s" for name, seconds in taken.items())
        print(f"round {number + 1}: {said}", file=sys.stderr, flush=True)
    return taken


def _described(seconds: list[float], exact: FloatArray, found: FloatArray) -> dict[str, Any]:
    agreement = Agreement.from_vectors(exact, found)
    mean = float(np.einsum("md,md->m", exact, found).mean())
    return {"seconds": seconds, "cosine": mean, "least_cosine": agreement.cosine, "nearest": agreement.nearest}


def table(report: dict[str, Any]) -> str:
    """The table of a report: medians over the rounds."""
    columns = ("encoder", "products/s", "of the default", "cosine", "least", "ten nearest")
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
        f"{row['least_cosine']:.5f}",
        f"{row['nearest']:.1%}",
    )


def notes(report: dict[str, Any]) -> str:
    """What a reader of the table should know besides, a line each."""
    catalogue = report["catalogue"]
    lines = [
        f"- {report['settings']['corpus']}: {catalogue['products']:,} products, {catalogue['different']:,} different "
        f"texts, {catalogue['tokens']:.1f} tokens each; {report['settings']['threads']} threads."
    ]
    auto = report["auto"]
    lines += [f"- `--runtime auto` takes {auto['takes']}, and {auto['seconds']:.0f} s to make and try them all."]
    lines += [f"- Left out: {name}: {why}" for name, why in report["left_out"].items()]
    return "\n".join(lines)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}", description=__doc__)
    add = parser.add_argument
    add("--model", type=Path, metavar="DIR", help="a trained model: random weights say little about 8 bits")
    add("--corpus", type=Path, metavar="DIR", help="a corpus folder; else a sample shop is made")
    add("--products", type=int, default=2000, help="how many of its products")
    add("--rounds", type=int, default=3, help="timed rounds, after one to warm up")
    add("--threads", type=int, default=torch.get_num_threads(), help="of every row")
    add("--rival-python", default=sys.executable, metavar="FILE", help="interpreter that has sentence-transformers")
    add("--seed", type=int, default=0)
    add("--out", type=Path, metavar="FILE", help=f"where to write; else benchmarks/results/{NAME}.json")
    add("--show", type=Path, metavar="FILE", help="print the table of this report and measure nothing")
    options = parser.parse_args(arguments)
    if options.show is None and options.model is None:
        parser.error("--model DIR is needed, such as HOME/model of benchmarks.retrieval.trained_shop")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, keep the report, print its table; or print that of a kept one."""
    report = load_or_measure(parse(arguments), measure)
    print(f"{table(report)}\n\n{notes(report)}")


if __name__ == "__main__":
    main()
