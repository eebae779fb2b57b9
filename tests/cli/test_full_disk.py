"""A disk that is full ends a command with a message, not with a signal, and leaves no half output."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random
from string import ascii_letters

import polars as pl

from cli.main import run as main
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


def test_a_revision_that_does_not_fit(tmp_path: Path, nights: Path) -> None:
    """The version answers as before, and the update may be made again once there is room."""
    new_small_disk(tmp_path)
    (nights / "revisions").mkdir()
    live = (nights / "live.json").read_bytes()
    title = "".join(Random(0).choices(ascii_letters, k=99_000))  # which no compression makes fit
    pl.DataFrame({"product_id": ["n1"], "title": [title]}).write_parquet(tmp_path / "large.parquet")
    upsert = [sys.executable, "-m", "cli", "upsert", "--store", nights, "--products", tmp_path / "large.parquet"]
    ran = on_small_disk(nights / "revisions", *upsert)
    assert ran.returncode == 1, ran.stderr
    assert "error: No space left on device: " in ran.stderr
    assert (nights / "live.json").read_bytes() == live
    assert main([*map(str, upsert[3:])]) == 0
