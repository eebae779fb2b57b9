"""A command that lacks a library says which extra of the package brings it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cli.extras import EXTRAS, missing_library

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = {
    "sklearn": "scikit-learn",
    "prometheus_client": "prometheus-client",
    "starlette": "fastapi",
    "vl_convert": "vl-convert-python",
}

# Runs commands without some libraries, and writes the exit code and the error of each as JSON.
_WITHOUT = """
import contextlib, io, json, sys
hidden, commands = map(json.loads, sys.argv[1:])
sys.modules.update(dict.fromkeys(hidden))
from cli.main import run
for command in commands:
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        code = run(command)
    print(json.dumps([code, errors.getvalue()]))
"""


def without(libraries: list[str], *commands: list[str]) -> list[list[object]]:
    arguments = [sys.executable, "-c", _WITHOUT, json.dumps(libraries), json.dumps(commands)]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_trains_needs_the_extra_train(tmp_path: Path) -> None:
    commands = (
        ["pretrain", "--corpus", "corpus", "--out", str(tmp_path / "out")],
        ["finetune", "nip", "--model", "model", "--corpus", "corpus", "--out", str(tmp_path / "out")],
        ["evaluate", "nip", "--model", "model", "--corpus", "corpus"],
        ["demo", "--home", str(tmp_path / "demo")],  # before it has told or made anything
    )
    for code, error in without([name for name, extra in EXTRAS.items() if extra == "train"], *commands):
        assert code == 4
        assert "does not load (" in str(error)
        assert str(error).endswith("; type: pip install 'ubm-embed[train]'\n")
    assert not list(tmp_path.iterdir())


def test_what_serves_needs_the_extra_serve(tmp_path: Path) -> None:
    hidden = [name for name, extra in EXTRAS.items() if extra == "serve"]
    ((code, error),) = without(hidden, ["serve", "--store", str(tmp_path), "--port", "0"])
    assert code == 4
    assert str(error).endswith("; type: pip install 'ubm-embed[serve]'\n")


def test_what_draws_needs_the_extra_diagnose(tmp_path: Path) -> None:
    for library in ("altair", "sklearn", "vl_convert"):
        page = str(tmp_path / "page.html")
        ((code, error),) = without([library], ["diagnose", "--store", "store", "--html", page])
        assert (code, error) == (4, f"error: {library} is not installed; type: pip install 'ubm-embed[diagnose]'\n")
    ((code, error),) = without(["openTSNE"], ["diagnose", "--run", "x", "--html", page, "--map-method", "tsne"])
    assert (code, error) == (4, "error: openTSNE is not installed; type: pip install 'ubm-embed[tsne]'\n")


@pytest.mark.parametrize("library", EXTRAS)
def test_the_extra_brings_the_library(library: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    brought = project["optional-dependencies"][EXTRAS[library]]
    assert any(line.startswith(f"{DISTRIBUTIONS.get(library, library)}>=") for line in brought)


def test_a_module_of_a_library_names_the_library() -> None:
    error = ImportError("libcudart.so.13: no such file", name="torch._C")
    expected = "torch does not load (libcudart.so.13: no such file); type: pip install 'ubm-embed[train]'"
    assert missing_library(error) == expected


@pytest.mark.parametrize("name", [None, "numpy", "cli.stray"])
def test_what_comes_with_every_installation_is_no_extra(name: str | None) -> None:
    assert missing_library(ImportError("broken", name=name)) is None
