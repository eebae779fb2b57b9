"""What vectors depend on besides the model, and what has changed of it."""

import platform
from importlib.metadata import version

import pytest

from ubm_embed.inference import environment as module
from ubm_embed.inference.environment import environment, environment_changes


def test_it_names_libraries_and_the_processor() -> None:
    now = environment("onnx", "cpu")
    assert now["numpy"] == version("numpy")
    assert now["faiss"] == version("faiss-cpu")
    assert (now["runtime"], now["device"]) == ("onnx", "cpu")
    assert now["processor"].startswith(platform.machine())


def test_what_differs_is_said_in_words() -> None:
    before = environment("onnx", "cpu")
    assert [*environment_changes(before, before)] == []
    now = before | {"runtime": "torch", "new": "1"}
    del now["faiss"]
    assert [*environment_changes(before, now)] == [
        "runtime onnx is now torch",
        f"faiss {before['faiss']} is now (not installed)",
    ]


def test_a_machine_that_does_not_name_its_processor(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(module, "_CPU_INFO", module.Path(str(tmp_path)) / "missing")
    assert environment("onnx", "cpu")["processor"].startswith(platform.machine())
