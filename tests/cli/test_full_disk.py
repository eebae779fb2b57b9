"""A disk that is full ends a command with a message, not with a signal, and leaves no half output."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

from indexer.refresh.gates import Gate
from indexer.refresh.refresh import build_index
from tests.small_disk import new_small_disk, on_small_disk


def test_npy_vectors_that_do_not_fit(tmp_path: Path, model_folder: Path) -> None:
    """numpy/numpy#21964: a sparse file behind a memory map ends the process with SIGBUS."""
    small_disk = new_small_disk(tmp_path)
    ids = [f"p{row}" for row in range(2000)]
    pl.DataFrame({"product_id": ids, "title": ids}).write_parquet(tmp_path / "many.parquet")
    build_index(model=model_folder, products=tmp_path / "many.parquet", store=tmp_path / "store", allow=set(Gate))
    out = small_disk / "out"
    ran = on_small_disk(
        small_disk, sys.executable, "-m", "cli", "export", "--store", tmp_path / "store", "--to", "npy", "--out", out
    )
    assert (ran.returncode, ran.stdout) == (1, "left: \n"), ran.stderr
    assert f"error: No space left on device: {out}; nothing was written to {out}\n" in ran.stderr
