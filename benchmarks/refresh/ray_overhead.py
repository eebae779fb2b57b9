"""What it costs to encode a catalogue with Ray on one machine, where there is little to win.

python -m benchmarks.refresh.ray_overhead

The same products are built into a store by this process, by a cluster of one node and by one of two, in turns. A node
is a `ray start` with one CPU, and a worker runs one thread, as this process does. So a cluster of one node takes longer
than this process by what Ray costs: connecting, starting a worker and loading the model there. Two nodes show how the
work spreads, as far as the machine has a core for each. Only the encode step is timed, with the cluster running before
it begins; the vectors of all must be equal.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import torch

from benchmarks.command_line import load_or_measure
from benchmarks.report import markdown_table, report_header
from indexer.refresh.gates import Gate
from indexer.refresh.ray_engine import encode_with_ray
from indexer.refresh.refresh import build_index
from indexer.refresh.settings import RefreshSettings
from indexer.refresh.shards import EncodingJob, ExecutionEngine, Shard, encode_locally
from indexer.store.embedding_store import EmbeddingStore
from ubm_embed.data.corpus import PRODUCTS_FILE, Corpus
from ubm_embed.data.sample_shop import write_sample_shop
from ubm_embed.errors import NotFound, QualityGateFailed
from ubm_embed.model.checkpoint import save_checkpoint
from ubm_embed.model.start import fresh_model
from ubm_embed.progress import Progress

NAME = "ray_overhead"
HERE, ONE, TWO = "this process", "Ray, one node", "Ray, two nodes"
NODES = {HERE: 0, ONE: 1, TWO: 2}
TOLERANCE = 1e-5

_NODE = ["--num-cpus=1", "--object-store-memory=100000000", "--min-worker-port=0", "--max-worker-port=0"]
_RAY = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--block", *_NODE]


@contextlib.contextmanager
def ray_cluster(nodes: int) -> Iterator[str]:
    """A Ray cluster of nodes on this machine, of one CPU each, as long as the block lasts; its address.

    Raises:
        NotFound: Ray does not start.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_secret())
        head = ["--head", "--port=0", "--include-dashboard=false"]
        address = stack.enter_context(_node(head, r"ray start --address='([^']+)'"))
        for _ in range(nodes - 1):
            stack.enter_context(_node([f"--address={address}"], "(Ray runtime started)"))
        yield address


@contextlib.contextmanager
def _secret() -> Iterator[None]:
    """An environment of Ray's in which this process and its nodes share a token: whoever has it runs code on them."""
    raylet: Any = import_module("ray._raylet")

    def read_again() -> None:  # Ray reads both only once
        raylet.Config.initialize("")
        raylet.AuthenticationTokenLoader.instance().reset_cache()

    values = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    with patch.dict(os.environ, values):
        read_again()
        yield
    read_again()


@contextlib.contextmanager
def _node(options: Sequence[str], says: str) -> Iterator[str]:
    """A `ray start` with a folder and a process group of its own; what the group of `says` matches in its output."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        command = [*_RAY, f"--temp-dir={folder}", *options]
        streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        with subprocess.Popen(command, start_new_session=True, **streams) as process:
            try:
                yield _awaited(process, says)
            finally:
                process.terminate()  # it takes its children along; what it forgets goes with its group
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(3)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def _awaited(process: subprocess.Popen[str], says: str) -> str:
    assert process.stdout is not None, "a pipe"
    lines = []
    for line in process.stdout:
        if found := re.search(says, line):
            return found[1]
        lines.append(line)
    raise NotFound(f"Ray does not start; it said: {''.join(lines[-5:])}")


class Timed:
    """An engine, and how long it took the last time."""

    def __init__(self, engine: ExecutionEngine) -> None:
        self.engine = engine
        self.seconds = 0.0

    def __call__(self, job: EncodingJob, shards: Sequence[Shard], progress: Progress) -> None:
        """As the engine."""
        started = time.perf_counter()
        self.engine(job, shards, progress)
        self.seconds = time.perf_counter() - started


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report: seconds of the encode step by engine, round by round.

    Raises:
        QualityGateFailed: the engines' vectors differ.
    """
    settings = {name: value for name, value in vars(options).items() if name not in ("out", "show")}
    report = report_header(NAME, settings, packages=("ray", "pylance"))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        products = make_shop(home, options)
        report["rounds"] = []
        expected: pl.DataFrame | None = None
        for number in range(options.rounds):
            seconds = {}
            for name, nodes in NODES.items():
                seconds[name], rows = _built(home, f"{number}-{nodes}", nodes, options)
                expected = rows if expected is None else expected
                require_equal(rows, expected, name)
            print(f"round {number + 1}: {_in_words(seconds)}", file=sys.stderr, flush=True)
            report["rounds"].append(seconds)
    return report | {"products": products}


def make_shop(home: Path, options: argparse.Namespace) -> int:
    """A sample shop's corpus/ and a fresh model/ for it; how many products it has."""
    write_sample_shop(home / "corpus", products=options.products, sessions=1000, seed=options.seed)
    corpus = Corpus.open(home / "corpus")
    sizes = {"layers": options.layers, "session_layers": options.layers, "dimension": options.width}
    model, tokenizer = fresh_model(corpus, seed=options.seed, vocab_size=2048, width=options.width, **sizes)
    (home / "model").mkdir()
    save_checkpoint(home / "model", model.eval(), tokenizer, {})
    return corpus.products.height


def _built(home: Path, name: str, nodes: int, options: argparse.Namespace) -> tuple[float, pl.DataFrame]:
    """Seconds of the encode step of a build, and the rows that came of it."""
    with ray_cluster(nodes) if nodes else contextlib.nullcontext() as address:
        engine = Timed(encode_locally if address is None else _on(address))
        version = build_index(
            model=home / "model",
            products=home / "corpus" / PRODUCTS_FILE,
            store=home / name,
            settings=RefreshSettings(shard_rows=options.shard_rows),
            allow=list(Gate),  # nothing is asked of a model that was not trained
            engine=engine,
            device="cpu",
        )
    table = EmbeddingStore.open(home / name).table
    return engine.seconds, table.read(version.table_version, ["product_id", "vector"]).sort("product_id")


def _on(address: str) -> ExecutionEngine:
    def engine(job: EncodingJob, shards: Sequence[Shard], progress: Progress) -> None:
        encode_with_ray(job, shards, progress, address=address)

    return engine


def require_equal(rows: pl.DataFrame, expected: pl.DataFrame, name: str) -> None:
    """Raise `QualityGateFailed` unless ids are the same and vectors [M, D] to float32's tolerance."""
    if not rows["product_id"].equals(expected["product_id"]):
        raise QualityGateFailed(f"{name}: other products than {HERE}")
    apart = float(np.abs(rows["vector"].to_numpy() - expected["vector"].to_numpy()).max())
    if not apart <= TOLERANCE:
        raise QualityGateFailed(f"{name}: vectors differ by {apart:g} from those of {HERE}, at most {TOLERANCE:g}")


def _in_words(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {taken:.1f} s" for name, taken in seconds.items())


def table(report: Mapping[str, Any]) -> str:
    """The table of a report: medians over the rounds."""
    rounds, products = report["rounds"], report["products"]
    rows = []
    for name in rounds[0]:
        taken = [one[name] for one in rounds]
        more = median(one[name] - one[HERE] for one in rounds)
        ratio = median(one[HERE] / one[name] for one in rounds)
        rows.append(
            (name, f"{median(taken):.1f}", f"{products / median(taken):,.0f}", f"{more:+.1f}", f"{ratio:.2f} x")
        )
    return markdown_table(("encode step", "s", "products/s", "s more than here", "as fast as here"), rows)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}", description=__doc__)
    add = parser.add_argument
    add("--products", type=int, default=6000, help="products of the sample shop")
    add("--shard-rows", type=int, default=500, help="products a shard")
    add("--rounds", type=int, default=3)
    add("--layers", type=int, default=4, help="layers of each encoder")
    add("--width", type=int, default=256, help="width of both encoders")
    add("--seed", type=int, default=0)
    add("--out", type=Path, metavar="FILE", help=f"where to write; else benchmarks/results/{NAME}.json")
    add("--show", type=Path, metavar="FILE", help="print the table of this report and measure nothing")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {options.rounds}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, keep the report, print its table; or print that of a kept one."""
    options = parse(arguments)
    report = load_or_measure(options, measure)
    print(table(report))


if __name__ == "__main__":
    main()
