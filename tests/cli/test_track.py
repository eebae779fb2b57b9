"""`--track` sends what training logs to TensorBoard and MLflow, from the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from indexer.diagnostics.training_run.run import run_section
from ubm_embed.data.sample_shop import write_sample_shop

TINY = ("--layers", "1", "--width", "16", "--session-layers", "1", "--item-batch", "32", "--session-batch", "32")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write_sample_shop(tmp_path / "corpus", products=60, sessions=80, seed=1)
    return tmp_path / "corpus"


@pytest.fixture(autouse=True)
def mlflow_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store in a folder: no server, and no telemetry."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


def test_both_trackers_get_what_the_log_has(ubm: Callable[..., Any], corpus: Path, tmp_path: Path) -> None:
    import mlflow

    out = tmp_path / "model"
    tracked = ("--track", "tensorboard", "--track", "mlflow")
    done = ubm("pretrain", "--corpus", corpus, "--out", out, "--max-steps", 2, *TINY, *tracked)
    assert done.code == 0, done.err
    losses = [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]

    section = run_section(out)
    assert [row[:3] for row in section.tables[0].rows] == [[1, 2, 2], [2, 2, 2]]
    assert (section.findings, section.notes) == ((), ()), "two steps are too few for a verdict; all figures are there"

    (folder,) = (tmp_path / "model.tensorboard").iterdir()
    events = EventAccumulator(str(folder))
    events.Reload()
    scalars = [event.value for stage in (1, 2) for event in events.Scalars(f"stage_{stage}/loss")]
    assert scalars == pytest.approx(losses)

    (run,) = mlflow.MlflowClient().search_runs(["0"])
    assert (run.info.run_name, run.info.status, run.data.params["item_batch"]) == ("model", "FINISHED", "32")
    assert run.data.metrics["stage_2/loss"] == losses[-1]


@pytest.mark.parametrize("command", [("pretrain",), ("finetune", "nip", "--model", "base")])
def test_a_missing_library_is_told_before_any_work(
    ubm: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    done = ubm(*command, "--corpus", "corpus", "--out", tmp_path / "model", "--track", "mlflow")
    assert done.code == 4
    assert done.err.endswith("type: pip install 'ubm-embed[mlflow]'\n")


def test_trackers_are_known_by_name(ubm: Callable[..., Any]) -> None:
    assert ubm("pretrain", "--corpus", "corpus", "--out", "model", "--track", "wandb").code == 2
