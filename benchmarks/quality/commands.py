"""Runs `ubm-embed` as a user types it, each command in a process of its own with one thread, and says what it took."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.quality.experiment import smaller_shop
from benchmarks.report import markdown_table, write_report
from ubm_embed.data.corpus import Corpus

_PEAK = re.compile(r"PEAK (\d+)")
# Prints the peak of the command's memory, in kilobytes, after its output.
_RUN = """
import re, sys
from cli.main import main
try:
    main()
finally:
    print("PEAK", re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
"""


@dataclass
class Commands:
    """Commands of one run.

    Attributes:
        title: named in progress lines.
        cost: seconds and peak megabytes by name of the command.
    """

    title: str
    cost: dict[str, dict[str, float]] = field(default_factory=dict)

    def run(self, name: str, *arguments: str | Path | int | float) -> str:
        """The output of `ubm-embed ARGUMENTS`; ends the program if it fails."""
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _RUN, *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        if done.returncode:
            sys.exit(f"ubm-embed {' '.join(map(str, arguments))}: exit code {done.returncode}\n{done.stderr}")
        peak = max(int(kilobytes) for kilobytes in _PEAK.findall(done.stderr))
        self.cost[name] = {"seconds": round(time.perf_counter() - started, 1), "peak_mb": round(peak / 1024)}
        print(f"{self.title}: {name} {self.cost[name]}", file=sys.stderr, flush=True)
        return done.stdout


def measure_seeds(
    report: dict[str, Any],
    options: argparse.Namespace,
    one_seed: Callable[[Path, Path, int, argparse.Namespace], dict[str, Any]],
) -> dict[str, Any]:
    """The report with the runs of `one_seed(corpus, home, seed, options)`, written after each of them.

    Args:
        options: `data`, the corpus, of which `sessions` are taken unless that is None; `seeds` and `out`.
    """
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        corpus = options.data
        if options.sessions is not None:
            corpus = Path(folder) / options.data.name
            smaller_shop(Corpus.open(options.data), options.sessions).write(corpus)
        for seed in options.seeds:
            home = Path(folder) / f"seed_{seed}"
            home.mkdir()
            runs.append(one_seed(corpus, home, seed, options))
            write_report({**report, "runs": runs}, options.out)
    return {**report, "runs": runs}


def cost_table(runs: Sequence[Mapping[str, Any]]) -> str:
    """The mean seconds and the highest peak of each command, over runs that keep `Commands.cost` as "cost"."""
    rows = [
        (
            name,
            f"{mean(run['cost'][name]['seconds'] for run in runs):.0f}",
            f"{max(run['cost'][name]['peak_mb'] for run in runs):,}",
        )
        for name in runs[0]["cost"]
    ]
    return markdown_table(("command", "seconds", "peak MB"), rows)
