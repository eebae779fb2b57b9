"""A version records the runtimes that encoded its products."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from indexer.refresh.gates import Gate
from indexer.refresh.refresh import build_index, refresh
from indexer.store.embedding_store import EmbeddingStore
from indexer.versions.version import read_version
from ubm_embed.errors import NotFound
from ubm_embed.inference.runtimes import selection as choice
from ubm_embed.inference.runtimes.opening import open_torch_model
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.inference.runtimes.torch_model import TorchModel
from ubm_embed.model.folder import ModelFolder

ALLOW = [Gate.NEIGHBOURS, Gate.CENTROID]


@pytest.fixture(autouse=True)
def openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch under the name of another runtime, so that every machine has it."""

    def build(model: ModelFolder, device: str) -> TorchModel:
        return TorchModel(open_torch_model(model, device).model, RuntimeName.OPENVINO)

    monkeypatch.setattr(choice, "BUILDS", {**choice.BUILDS, RuntimeName.OPENVINO: build})


def runtime(store: Path) -> str | None:
    return read_version(EmbeddingStore.open(store)).runtime


def test_a_build_records_the_requested_runtime(tmp_path: Path, model_folder: Path, products_file: Path) -> None:
    for name in ("torch", "onnx", "openvino"):
        build_index(model=model_folder, products=products_file, store=tmp_path / name, runtime=name)
        assert runtime(tmp_path / name) == name


def test_without_a_request_onnx_runtime_encodes_on_a_cpu(
    tmp_path: Path, model_folder: Path, products_file: Path
) -> None:
    build_index(model=model_folder, products=products_file, store=tmp_path / "s", device="cpu")
    assert runtime(tmp_path / "s") == "onnx"


def test_a_refresh_adds_its_runtime_to_that_of_the_vectors_it_copies(
    nights: Path, catalogue: Callable[[int], Path], model_folder: Path, other_model_folder: Path
) -> None:
    assert runtime(nights) == "onnx"
    refresh(products=catalogue(4), store=nights, runtime="openvino", allow=ALLOW)
    assert runtime(nights) == "onnx, openvino"
    refresh(products=catalogue(5), store=nights, runtime="onnx", allow=ALLOW)
    assert runtime(nights) == "onnx, openvino"
    refresh(products=catalogue(5), store=nights, model=other_model_folder, runtime="openvino", allow=list(Gate))
    assert runtime(nights) == "openvino"


def test_a_missing_library_changes_nothing(
    nights: Path, catalogue: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(model: object, device: str) -> TorchModel:
        raise NotFound("openvino does not load")

    monkeypatch.setattr(choice, "BUILDS", {RuntimeName.OPENVINO: missing})
    before = read_version(EmbeddingStore.open(nights))
    with pytest.raises(NotFound, match="openvino does not load"):
        refresh(products=catalogue(4), store=nights, runtime="openvino", allow=ALLOW)
    assert read_version(EmbeddingStore.open(nights)) == before
