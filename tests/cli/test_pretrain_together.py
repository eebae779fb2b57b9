"""`pretrain` under torchrun: killed and resumed it ends where one undisturbed process does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from ubm_embed.data.sample_shop import write_sample_shop

ROOT = Path(__file__).resolve().parents[2]
TINY = ("--layers", "1", "--width", "16", "--session-layers", "1", "--item-batch", "16", "--session-batch", "8")
SETTINGS = ("--max-steps", "5", "--checkpoint-steps", "2", "--chunk-tokens", "300", "--precision", "float32", *TINY)
SETTINGS = (*SETTINGS, "--device", "cpu", "--learning-rate", "1e-3")
# The first process is killed once it has taken the third step of stage 2.
KILLED = """
import os, signal
from cli.main import main
from ubm_embed.training.run import TrainingRun

log = TrainingRun.log

def log_and_die(run, record):
    log(run, record)
    if (record["stage"], record["step"]) == (2, 3):
        os.kill(os.getpid(), signal.SIGKILL)

TrainingRun.log = log_and_die
main()
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small shop."""
    folder = tmp_path_factory.mktemp("shop")
    write_sample_shop(folder / "log", products=60, sessions=120, seed=1)
    assert run(["ingest", str(folder / "log"), "--from", "native", "--out", str(folder / "corpus")]) == 0
    return folder / "corpus"


def torchrun(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    # Gloo finds its peers by the host's name, which a machine without a network may not know.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": str(ROOT)}
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*start, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=200)


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in step.items() if not name.endswith("_per_second")} for step in steps]


def test_killed_and_resumed_it_ends_where_an_undisturbed_run_does(corpus: Path, tmp_path: Path) -> None:
    killing, out, whole = tmp_path / "killing.py", tmp_path / "model", tmp_path / "whole"
    killing.write_text(KILLED)
    command = ("pretrain", "--corpus", corpus, *SETTINGS, "--out")

    assert torchrun(killing, *command, out).returncode != 0
    assert not out.exists()
    assert [step["step"] for step in metrics_of(tmp_path / "model.training")][-3:] == [1, 2, 3]

    resumed, undisturbed = torchrun("-m", "cli", *command, out, "--resume"), torchrun("-m", "cli", *command, whole)
    for done, folder in ((resumed, out), (undisturbed, whole)):
        assert done.returncode == 0, done.stderr
        assert done.stderr.count(f"{folder}: model ") == 1, "one of the two speaks"
    assert metrics_of(out) == metrics_of(whole)
    records = [json.loads((folder / "training.json").read_text()) for folder in (out, whole)]
    assert records[0]["model_id"] == records[1]["model_id"]
    assert records[0]["processes"] == 2


def test_a_taken_place_is_named_in_a_line(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    done = torchrun("-m", "cli", "pretrain", "--corpus", corpus, "--out", tmp_path)
    assert f"error: {tmp_path} exists already; choose another path or pass --overwrite" in done.stderr
    assert "exitcode  : 5" in done.stderr, "torchrun's word on the process that ended first"


def test_a_start_by_half_is_a_matter_of_usage(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setenv("COLUMNS", "300")
    assert run(["pretrain", "--corpus", str(corpus), "--out", str(tmp_path / "model")]) == 2
    assert "start with torchrun, or unset WORLD_SIZE" in capsys.readouterr().err
