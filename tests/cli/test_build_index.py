"""`ubm-embed build-index`, as a shell sees it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_first_build_prints_its_progress_and_one_line(
    tmp_path: Path, model_folder: Path, catalogue: Callable[[int], Path]
) -> None:
    """Whatever the libraries have to say stays out of the log."""
    options = ["--model", model_folder, "--products", catalogue(1), "--store", tmp_path / "s"]
    command = [sys.executable, "-m", "cli", "build-index", *map(str, options)]
    settings = {name: value for name, value in os.environ.items() if name != "LANCE_LOG"} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=settings, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    *progress, headline = done.stderr.splitlines()
    assert all(line.startswith("encoding products: ") for line in progress)
    assert headline.startswith(f"{tmp_path / 's'}: version 1 is live, 8 products in ")
