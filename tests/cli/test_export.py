"""`ubm-embed export` to programs that people look at vectors with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Shell = Callable[..., Any]  # returns a `Ran` of tests/cli/conftest.py


@pytest.mark.parametrize(
    ("to", "file", "command"),
    [
        ("embedding-atlas", "products.parquet", "embedding-atlas {out} --text text --x projection_x --y projection_y"),
        ("projector", "folder", "tensorboard --logdir {out}"),
    ],
)
def test_it_ends_with_what_to_type(ubm: Shell, nights: Path, tmp_path: Path, to: str, file: str, command: str) -> None:
    out = tmp_path / file
    ran = ubm("export", "--store", nights, "--to", to, "--out", out)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.splitlines()[-1].startswith(f"to look at them: {command.format(out=out)}")
    assert ubm("export", "--store", nights, "--to", to, "--out", out).code == 5
    assert ubm("export", "--store", nights, "--to", to, "--out", out, "--overwrite").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--to", "npy", "--sample", 5), "--sample is for embedding-atlas and projector, not for npy"),
        (("--to", "projector", "--sample", 0), "greater than or equal to 1"),
        (("--to", "projector", "--sample", 100_001), "--sample must be at most 100,000"),
        (("--to", "projector"), "--to projector needs --store DIR"),
    ],
)
def test_options_that_do_not_go_together(ubm: Shell, tmp_path: Path, arguments: tuple[Any, ...], message: str) -> None:
    store = () if "needs" in message else ("--store", "s")
    ran = ubm("export", *store, *arguments, "--out", tmp_path / "out")
    assert (ran.code, ran.out) == (2, "")
    assert message in " ".join(ran.err.replace("│", " ").split())
