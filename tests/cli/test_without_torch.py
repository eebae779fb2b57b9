"""A store is read and refreshed in an installation without what trains, here in processes that cannot import it.

`test_fresh_environment` does the same in an environment of its own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

SESSION = {"session_id": "s1", "interactions": [{"action": "view", "product_id": "p1"}]}
# What the extra `train` and the development environment add, and what only those need who read or write tables.
TRAINING = ["torch", "transformers", "sklearn", "scipy", "huggingface_hub", "onnx", "openvino", "nncf", "lancedb"]
TABLES = ["polars", "lance", "pyarrow.dataset", "pyarrow.compute"]
PROGRAM = """
import contextlib, io, json, sys
missing, commands = json.load(sys.stdin)
sys.modules.update(dict.fromkeys(missing))  # as if it were not installed, for imports and for find_spec
from cli.main import run
results = []
for command in commands:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = run(command)
    results.append((code, out.getvalue(), err.getvalue()))
json.dump(results, sys.stdout)
"""


def run_without(missing: list[str], *commands: list[object]) -> list[tuple[int, str, str]]:
    """The exit code, stdout and stderr of commands in one process that lacks these libraries."""
    request = json.dumps([missing, [[*map(str, command)] for command in commands]])
    done = subprocess.run([sys.executable, "-c", PROGRAM], input=request, capture_output=True, text=True, check=True)
    return [tuple(result) for result in json.loads(done.stdout)]


def output_of(result: tuple[int, str, str]) -> Any:
    """The JSON that a command wrote, if it succeeded."""
    code, out, err = result
    assert code == 0, err
    return json.loads(out)


@pytest.fixture
def session_file(tmp_path: Path) -> Path:
    (tmp_path / "session.json").write_text(json.dumps(SESSION))
    return tmp_path / "session.json"


def test_questions_are_answered_without_a_library_for_training_or_tables(nights: Path, session_file: Path) -> None:
    asked, looked_up, listed = run_without(
        TRAINING + TABLES,
        ["query", "--session", session_file, "--store", nights, "-k", 3],
        ["lookup", "--title", "red shoes", "--store", nights, "-k", 3],
        ["versions", "list", "--store", nights, "--format", "json"],
    )
    assert len(output_of(asked)["matches"]) == 3
    assert len(output_of(looked_up)["matches"]) == 3
    assert [version["version"] for version in output_of(listed)] == [3, 2, 1]


def test_a_store_is_refreshed_rolled_back_checked_and_exported_without_torch(
    nights: Path, catalogue: Callable[[int], Path], session_file: Path, tmp_path: Path
) -> None:
    gates = [argument for gate in ("neighbours", "centroid") for argument in ("--allow", gate)]
    vectors = tmp_path / "vectors.parquet"
    refreshed, asked, rolled_back, checked, exported = run_without(
        TRAINING,
        ["refresh", "--products", catalogue(4), "--store", nights, "--format", "json", *gates],
        ["query", "--session", session_file, "--store", nights, "-k", 3, "--where", "price > 3"],
        ["versions", "rollback", "--store", nights],
        ["doctor", "--store", nights, "--format", "json"],
        ["export", "--store", nights, "--to", "parquet", "--out", vectors],
    )
    report = output_of(refreshed)
    assert (report["version"], report["encoded"]) == (4, 1)
    assert output_of(asked)["version"] == 4
    assert rolled_back[0] == 0, rolled_back[2]
    assert checked[0] == 0, checked[2]
    assert exported[0] == 0, exported[2]
    assert pl.read_parquet(vectors).height == 8


def test_a_store_is_built_without_torch_from_a_model_with_graphs(
    model_folder: Path, catalogue: Callable[[int], Path], tmp_path: Path
) -> None:
    options = ["--model", model_folder, "--products", catalogue(1), "--store", tmp_path / "s", "--format", "json"]
    (built,) = run_without(TRAINING, ["build-index", *options])
    assert output_of(built)["runtime"] == "onnx"


def test_a_refresh_that_has_texts_to_encode_needs_graphs_or_torch(
    nights: Path, catalogue: Callable[[int], Path], tmp_path: Path
) -> None:
    for graphs in (nights / "models").glob("*/graphs"):
        shutil.rmtree(graphs)
    cheaper = tmp_path / "cheaper.parquet"
    pl.read_parquet(catalogue(3)).with_columns(price=1.0).write_parquet(cheaper)
    encoding, copying = run_without(
        TRAINING,
        ["refresh", "--products", catalogue(4), "--store", nights],
        ["refresh", "--products", cheaper, "--store", nights, "--format", "json"],
    )
    assert encoding[0] == 4
    assert "pip install 'ubm-embed[train]'" in encoding[2]
    assert output_of(copying)["version"] == 4


def test_training_says_what_to_install(tmp_path: Path) -> None:
    (trained,) = run_without(TRAINING, ["pretrain", "--corpus", tmp_path, "--out", tmp_path / "model"])
    assert trained[0] == 4
    assert "pip install 'ubm-embed[train]'" in trained[2]
