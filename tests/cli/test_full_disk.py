"""A disk that is full ends a command with a message, not with a signal, and leaves no half output."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from indexer.refresh.gates import Gate
from indexer.refresh.refresh import build_index

ROOT = Path(__file__).parents[2]


def on_small_disk(folder: Path, *command: object) -> subprocess.CompletedProcess[str]:
    """Run a command while `folder` is a disk of 64 KB; stdout ends with the names of what it leaves there."""
    script = 'mount -t tmpfs -o size=64k tmpfs "$0" && "$@"; code=$?; echo "left: $(ls -A "$0")"; exit $code'
    mounted = ["unshare", "-rm", "sh", "-c", script, folder, *map(str, command)]
    return subprocess.run(mounted, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A folder for `on_small_disk`."""
    folder = tmp_path / "small"
    folder.mkdir()
    try:
        allowed = on_small_disk(folder, "true").returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("mounting a file system is not allowed here")
    return folder


def test_npy_vectors_that_do_not_fit(tmp_path: Path, small_disk: Path, model_folder: Path) -> None:
    """numpy/numpy#21964: a sparse file behind a memory map ends the process with SIGBUS."""
    ids = [f"p{row}" for row in range(2000)]
    pl.DataFrame({"product_id": ids, "title": ids}).write_parquet(tmp_path / "many.parquet")
    build_index(model=model_folder, products=tmp_path / "many.parquet", store=tmp_path / "store", allow=set(Gate))
    out = small_disk / "out"
    ran = on_small_disk(
        small_disk, sys.executable, "-m", "cli", "export", "--store", tmp_path / "store", "--to", "npy", "--out", out
    )
    assert (ran.returncode, ran.stdout) == (1, "left: \n"), ran.stderr
    assert f"error: No space left on device: {out}; nothing was written to {out}\n" in ran.stderr
