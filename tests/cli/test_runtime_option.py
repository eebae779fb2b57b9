"""--runtime of build-index and refresh, and export --to onnx, as a shell sees them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.version import read_version
from ubm_embed.inference.runtimes import selection as choice
from ubm_embed.inference.runtimes.opening import open_torch_model
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.inference.runtimes.torch_model import TorchModel
from ubm_embed.model.folder import ModelFolder

Shell = Callable[..., Any]


@pytest.fixture(autouse=True)
def openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch under the name of another runtime, so that every machine has it."""

    def build(model: ModelFolder, device: str) -> TorchModel:
        return TorchModel(open_torch_model(model, device).model, RuntimeName.OPENVINO)

    monkeypatch.setattr(choice, "BUILDS", {**choice.BUILDS, RuntimeName.OPENVINO: build})


def test_the_runtime_is_an_option_and_an_environment_variable(
    ubm: Shell, tmp_path: Path, model_folder: Path, catalogue: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "s"
    built = ubm(
        *("build-index", "--model", model_folder, "--products", catalogue(1), "--store", store),
        *("--runtime", "openvino", "--format", "json"),
    )
    assert (built.code, json.loads(built.out)["runtime"]) == (0, "openvino")
    monkeypatch.setenv("UBM_EMBED_RUNTIME", "torch")
    allowed = ("--allow", "neighbours", "--allow", "centroid")
    assert ubm("refresh", "--products", catalogue(2), "--store", store, *allowed).code == 0
    assert read_version(EmbeddingStore.open(store)).runtime == "openvino, torch"


def test_an_unknown_runtime_is_refused(ubm: Shell, nights: Path, catalogue: Callable[[int], Path]) -> None:
    refused = ubm("refresh", "--products", catalogue(4), "--store", nights, "--runtime", "tensorflow")
    assert (refused.code, "openvino-int8" in refused.err) == (2, True)


@pytest.mark.parametrize("command", ["build-index", "refresh"])
def test_the_workers_of_a_cluster_do_not_each_choose_a_runtime(
    ubm: Shell, command: str, nights: Path, model_folder: Path, catalogue: Callable[[int], Path]
) -> None:
    arguments = ("--model", model_folder, "--products", catalogue(4), "--store", nights, "--engine", "ray")
    refused = ubm(command, *arguments, "--runtime", "auto")
    assert (refused.code, "name the runtime" in refused.err) == (2, True)


def test_a_model_is_exported(ubm: Shell, tmp_path: Path, model_folder: Path) -> None:
    ran = ubm("export", "--to", "onnx", "--model", model_folder, "--out", tmp_path / "out")
    assert (ran.code, "the encoders of model" in ran.err) == (0, True)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "interactions.onnx",
        "model.json",
        "products.onnx",
        "sessions.onnx",
        "tokenizer.json",
    ]
    again = ubm("export", "--to", "onnx", "--model", model_folder, "--out", tmp_path / "out")
    assert again.code == 5


def test_each_form_says_what_it_needs(ubm: Shell, tmp_path: Path, nights: Path, model_folder: Path) -> None:
    no_model = ubm("export", "--to", "onnx", "--store", nights, "--out", tmp_path / "out")
    assert (no_model.code, "--to onnx needs --model DIR" in no_model.err) == (2, True)
    no_store = ubm("export", "--to", "npy", "--model", model_folder, "--out", tmp_path / "out")
    assert (no_store.code, "--to npy needs --store DIR" in no_store.err) == (2, True)
