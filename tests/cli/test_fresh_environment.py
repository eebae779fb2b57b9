"""`ubm-embed[cpu]` in an environment of its own reads, refreshes, rolls back, checks and exports, without PyTorch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

pytestmark = [pytest.mark.install, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
SESSION = {"session_id": "s1", "interactions": [{"action": "view", "product_id": "p1"}]}
SOURCES = ("cli", "indexer", "ubm_embed", "pyproject.toml", "README.md", "LICENSE")


def run(*command: object) -> str:
    """The stdout of a command that must succeed."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of a fresh environment, with this package built and installed as users install it."""
    folder = tmp_path_factory.mktemp("installation")
    for name in SOURCES:  # building leaves files beside the sources
        source = ROOT / name
        shutil.copytree(source, folder / name) if source.is_dir() else shutil.copyfile(source, folder / name)
    run(sys.executable, "-m", "venv", folder / "venv")
    commands = folder / "venv" / "bin"
    run(commands / "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", f"{folder}[cpu]")
    return commands


def test_it_has_nothing_that_only_training_needs(environment: Path) -> None:
    installed = {package["name"] for package in json.loads(run(environment / "pip", "list", "--format", "json"))}
    assert {"faiss-cpu", "onnxruntime", "pylance"} <= installed
    assert installed.isdisjoint({"torch", "transformers", "scipy", "scikit-learn", "onnx", "lancedb"})


def test_it_reads_and_refreshes_a_store(
    environment: Path, nights: Path, catalogue: Callable[[int], Path], tmp_path: Path
) -> None:
    def ubm(*arguments: object) -> str:
        return run(environment / "ubm-embed", *arguments, "--store", nights)

    session, vectors = tmp_path / "session.json", tmp_path / "vectors.parquet"
    session.write_text(json.dumps(SESSION))
    assert len(json.loads(ubm("query", "--session", session, "-k", 3))["matches"]) == 3
    assert len(json.loads(ubm("lookup", "--title", "red shoes", "-k", 3))["matches"]) == 3
    allowed = [argument for gate in ("neighbours", "centroid") for argument in ("--allow", gate)]
    report = json.loads(ubm("refresh", "--products", catalogue(4), "--format", "json", *allowed))
    assert (report["version"], report["encoded"]) == (4, 1)
    assert json.loads(ubm("query", "--session", session, "--where", "price > 3", "--max-per", "category=2"))["matches"]
    ubm("versions", "rollback")
    assert json.loads(ubm("query", "--session", session))["version"] == 3
    ubm("doctor")
    ubm("export", "--to", "parquet", "--out", vectors)
    assert pl.read_parquet(vectors).height == 8


def test_it_says_what_training_lacks(environment: Path, tmp_path: Path) -> None:
    command = [environment / "ubm-embed", "pretrain", "--corpus", tmp_path, "--out", tmp_path / "model"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "pip install 'ubm-embed[train]'" in done.stderr) == (4, True)


def test_it_says_what_serving_lacks(environment: Path, nights: Path) -> None:
    command = [environment / "ubm-embed", "serve", "--store", nights]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "pip install 'ubm-embed[serve]'" in done.stderr) == (4, True)
