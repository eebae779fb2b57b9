"""Threads follow PyTorch where it is loaded, and else the environment."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from ubm_embed.inference.runtimes.threads import thread_count

COUNT = "from ubm_embed.inference.runtimes.threads import thread_count; print(thread_count())"


def count(before: str, **environment: str) -> int:
    run = subprocess.run(
        [sys.executable, "-c", f"{before}; {COUNT}"], env=environment, capture_output=True, text=True, check=True
    )
    return int(run.stdout)


@pytest.mark.parametrize(("value", "threads"), [("3", 3), ("5,2", 5)])
def test_without_pytorch_the_variable_says_it(value: str, threads: int) -> None:
    assert count("pass", OMP_NUM_THREADS=value) == threads


@pytest.mark.parametrize("value", ["", "many", "0"])
def test_without_a_number_it_is_the_cores_of_this_process(value: str) -> None:
    assert count("import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])", OMP_NUM_THREADS=value) == 1


def test_pytorchs_setting_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    torch.set_num_threads(2)
    try:
        assert thread_count() == 2
    finally:
        torch.set_num_threads(before)
