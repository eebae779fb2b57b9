"""What does it cost to encode a catalogue with Ray on one machine, where there is little to gain?

python -m benchmarks.refresh.ray_overhead

The same products are built into a store by this process, by a cluster of one node and by one of two, in turns. A node
is a `ray start` with one CPU, and a worker runs one thread, as this process does. So the difference between one node
and this process is the cost of Ray: connecting, starting a worker and loading the model there. Two nodes show how the
work scales if the machine has a core for each. Only the encode step is timed, after the cluster has started, and all
vectors must be equal.
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

from benchmarks.command_line import add_model_options, load_or_measure, runner_parser, settings_of
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
# The engines cut batches differently, so sums run in another order: a few eps of float32 (1.2e-7) in each layer.
TOLERANCE = 1e-5

_NODE = ["--num-cpus=1", "--object-store-memory=100000000", "--min-worker-port=0", "--max-worker-port=0"]
_RAY = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--block", *_NODE]


@contextlib.contextmanager
def ray_cluster(nodes: int) -> Iterator[str]:
    """A Ray cluster on this machine for the time of the block, with one CPU for each node; yields its address.

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
    """An environment in which this process and its nodes share a secret token, as anyone with access can run code."""
    raylet: Any = import_module("ray._raylet")

    def reload() -> None:  # Ray reads both only once
        raylet.Config.initialize("")
        raylet.AuthenticationTokenLoader.instance().reset_cache()

    values = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    with patch.dict(os.environ, values):
        reload()
        yield
    reload()


@contextlib.contextmanager
def _node(options: Sequence[str], pattern: str) -> Iterator[str]:
    """A `ray start` with its own folder and process group; yields the first group of `pattern` in its output."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        command = [*_RAY, f"--temp-dir={folder}", *options]
        streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        with subprocess.Popen(command, start_new_session=True, **streams) as process:
            try:
                yield _wait_for(process, pattern)
            finally:
                process.terminate()  # it ends its children; any that it misses end with the group
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(3)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def _wait_for(process: subprocess.Popen[str], pattern: str) -> str:
    assert process.stdout is not None, "a pipe"
    lines = []
    for line in process.stdout:
        if match := re.search(pattern, line):
            return match[1]
        lines.append(line)
    raise NotFound(f"Ray does not start; its output: {''.join(lines[-5:])}")


class TimedEngine:
    """An engine with the seconds of its last run."""

    def __init__(self, engine: ExecutionEngine) -> None:
        self.engine = engine
        self.seconds = 0.0

    def __call__(self, job: EncodingJob, shards: Sequence[Shard], progress: Progress) -> None:
        """Run the engine."""
        started = time.perf_counter()
        self.engine(job, shards, progress)
        self.seconds = time.perf_counter() - started


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report: seconds of the encode step of each engine, round by round.

    Raises:
        QualityGateFailed: the engines' vectors differ.
    """
    report = report_header(NAME, settings_of(options), packages=("ray", "pylance"))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        products = make_shop(home, options)
        report["rounds"] = []
        expected: pl.DataFrame | None = None
        for number in range(options.rounds):
            seconds = {}
            for name, nodes in NODES.items():
                seconds[name], rows = _build(home, f"{number}-{nodes}", nodes, options)
                expected = rows if expected is None else expected
                require_equal(rows, expected, name)
            print(f"round {number + 1}: {_summary(seconds)}", file=sys.stderr, flush=True)
            report["rounds"].append(seconds)
    return report | {"products": products}


def make_shop(home: Path, options: argparse.Namespace) -> int:
    """Write a sample shop's corpus/ and an untrained model/ for it; returns its number of products."""
    write_sample_shop(home / "corpus", products=options.products, sessions=1000, seed=options.seed)
    corpus = Corpus.open(home / "corpus")
    sizes = {"layers": options.layers, "session_layers": options.layers, "dimension": options.width}
    model, tokenizer = fresh_model(corpus, seed=options.seed, vocab_size=2048, width=options.width, **sizes)
    (home / "model").mkdir()
    save_checkpoint(home / "model", model.eval(), tokenizer, {})
    return corpus.products.height


def _build(home: Path, name: str, nodes: int, options: argparse.Namespace) -> tuple[float, pl.DataFrame]:
    """Seconds of the encode step of a build, and the rows of the table."""
    with ray_cluster(nodes) if nodes else contextlib.nullcontext() as address:
        engine = TimedEngine(encode_locally if address is None else _ray_engine(address))
        version = build_index(
            model=home / "model",
            products=home / "corpus" / PRODUCTS_FILE,
            store=home / name,
            settings=RefreshSettings(shard_rows=options.shard_rows),
            allow=list(Gate),  # an untrained model would not pass them
            engine=engine,
            device="cpu",
        )
    table = EmbeddingStore.open(home / name).table
    return engine.seconds, table.read(version.table_version, ["product_id", "vector"]).sort("product_id")


def _ray_engine(address: str) -> ExecutionEngine:
    def engine(job: EncodingJob, shards: Sequence[Shard], progress: Progress) -> None:
        encode_with_ray(job, shards, progress, address=address)

    return engine


def require_equal(rows: pl.DataFrame, expected: pl.DataFrame, name: str) -> None:
    """Raise `QualityGateFailed` unless ids are equal, and vectors [M, D] equal within the tolerance."""
    if not rows["product_id"].equals(expected["product_id"]):
        raise QualityGateFailed(f"{name}: not the products of {HERE}")
    difference = float(np.abs(rows["vector"].to_numpy() - expected["vector"].to_numpy()).max())
    if not difference <= TOLERANCE:
        raise QualityGateFailed(
            f"{name}: vectors differ from those of {HERE} by {difference:g}, more than {TOLERANCE:g}"
        )


def _summary(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {taken:.1f} s" for name, taken in seconds.items())


def table(report: Mapping[str, Any]) -> str:
    """The table of a report: medians over the rounds."""
    rounds, products = report["rounds"], report["products"]
    rows = []
    for name in rounds[0]:
        seconds = [one[name] for one in rounds]
        more = median(one[name] - one[HERE] for one in rounds)
        ratio = median(one[HERE] / one[name] for one in rounds)
        rows.append(
            (name, f"{median(seconds):.1f}", f"{products / median(seconds):,.0f}", f"{more:+.1f}", f"{ratio:.2f} x")
        )
    return markdown_table(("encode step", "s", "products/s", "s more than this process", "speed"), rows)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = runner_parser(f"refresh.{NAME}", __doc__)
    add = parser.add_argument
    add("--products", type=int, default=6000, help="products of the sample shop")
    add("--shard-rows", type=int, default=500, help="products of a shard")
    add("--rounds", type=int, default=3)
    add_model_options(parser)
    add("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {options.rounds}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, save the report and print its table; or print the table of a saved one."""
    print(table(load_or_measure(parse(arguments), measure)))


if __name__ == "__main__":
    main()
