"""Which engine reads: the one that is asked for, or the fastest that keeps quality. Engines here are made up."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch

from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.errors import NotFound, QualityGateFailed
from ubm_embed.inference.runtimes import selection as choice
from ubm_embed.inference.runtimes.runtime import TextRuntime
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.inference.runtimes.selection import benchmark_runtimes, choose_runtime, make_runtime
from ubm_embed.inference.runtimes.torch_runtime import TorchRuntime
from ubm_embed.model.user_behavior_model import UserBehaviorModel


class Made:
    """The model's vectors with noise, after so many seconds by a clock of its own."""

    tokens_at_once = 10_000
    by_length = True

    def __init__(self, model: UserBehaviorModel, name: RuntimeName, noise: float, seconds: float) -> None:
        self.exact, self.name, self.noise, self.seconds = TorchRuntime(model), name, noise, seconds

    def encode(self, sequences: TokenTable) -> FloatArray:
        vectors = self.exact.encode(sequences)
        noisy = vectors + self.noise * np.random.default_rng(0).standard_normal(vectors.shape).astype(np.float32)
        return noisy / np.linalg.norm(noisy, axis=1, keepdims=True)


@pytest.fixture
def sequences() -> TokenTable:
    random = np.random.default_rng(0)
    return TokenTable.from_rows([[2, *random.integers(20, 60, random.integers(1, 20)), 3] for _ in range(80)])


@pytest.fixture
def have(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """This machine has these engines beside float32, each with its noise and its seconds; float32 takes one."""

    def have(**engines: tuple[float, float]) -> None:
        makers = {}
        for written, (noise, seconds) in engines.items():
            name = RuntimeName(written.replace("_", "-"))
            makers[name] = lambda model, made=(name, noise, seconds): Made(model, *made)
        monkeypatch.setattr(choice, "_MAKERS", makers)

    def timed(engine: TextRuntime, sample: TokenTable) -> tuple[FloatArray, float]:
        return engine.encode(sample), getattr(engine, "seconds", 1.0)

    monkeypatch.setattr(choice, "_timed", timed)
    monkeypatch.setattr(choice, "_LEAST_NEAREST", 0)  # texts of an untrained model are all near each other
    monkeypatch.setattr(choice, "_WORTH_CHOOSING", 1)
    return have


def test_auto_takes_the_fastest(have: Callable[..., None], model: UserBehaviorModel, sequences: TokenTable) -> None:
    have(openvino=(0, 0.3), onnx_int8=(0, 0.1), openvino_int8=(0, 0.5))
    assert choose_runtime(RuntimeName.AUTO, model, sequences).name is RuntimeName.ONNX_INT8
    have(openvino=(0, 1.3))
    assert choose_runtime(RuntimeName.AUTO, model, sequences).name is RuntimeName.TORCH


def test_auto_leaves_out_what_does_not_keep_quality(
    have: Callable[..., None], model: UserBehaviorModel, sequences: TokenTable
) -> None:
    have(openvino=(0.02, 0.1), onnx_int8=(0.02, 0.3), openvino_int8=(0.5, 0.1))
    tried = {trial.engine.name: trial for trial in benchmark_runtimes(model, sequences)}
    # The same noise is too much for a float format and little enough for eight bits.
    assert 0.99 < tried[RuntimeName.OPENVINO].agreement.cosine < 0.999
    kept = {name for name, trial in tried.items() if trial.keeps_quality}
    assert kept == {RuntimeName.TORCH, RuntimeName.ONNX_INT8}
    assert choose_runtime(RuntimeName.AUTO, model, sequences).name is RuntimeName.ONNX_INT8


def test_neighbours_that_change_are_left_out_too(
    have: Callable[..., None], model: UserBehaviorModel, sequences: TokenTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    have(onnx_int8=(0.02, 0.1))
    _, noisy = benchmark_runtimes(model, sequences)
    assert noisy.keeps_quality
    monkeypatch.setattr(choice, "_LEAST_NEAREST", noisy.agreement.nearest + 0.01)
    assert not noisy.keeps_quality
    assert choose_runtime(RuntimeName.AUTO, model, sequences).name is RuntimeName.TORCH


def test_auto_goes_without_what_is_not_installed(
    have: Callable[..., None], model: UserBehaviorModel, sequences: TokenTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(model: UserBehaviorModel) -> Made:
        raise NotFound("not installed")

    have()
    monkeypatch.setattr(choice, "_MAKERS", {RuntimeName.OPENVINO: missing})
    assert choose_runtime(RuntimeName.AUTO, model, sequences).name is RuntimeName.TORCH
    with pytest.raises(NotFound, match="not installed"):
        choose_runtime(RuntimeName.OPENVINO, model, sequences)


@pytest.mark.parametrize("breaks", ["made", "asked"])
def test_auto_goes_without_what_breaks_and_says_so(
    breaks: str,
    have: Callable[..., None],
    model: UserBehaviorModel,
    sequences: TokenTable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> Any:
        raise RuntimeError("no such operation\nand a long report")

    def made(model: UserBehaviorModel) -> Made:
        engine = Made(model, RuntimeName.OPENVINO, 0, 0)
        monkeypatch.setattr(engine, "encode", broken)
        return engine

    have()
    monkeypatch.setattr(choice, "_MAKERS", {RuntimeName.OPENVINO: broken if breaks == "made" else made})
    with pytest.warns(UserWarning, match=r"going without openvino, which broke: RuntimeError: no such operation$"):
        assert choose_runtime(RuntimeName.AUTO, model, sequences).name is RuntimeName.TORCH


@pytest.mark.parametrize("value", [0.0, float("nan")])
@pytest.mark.parametrize("name", [RuntimeName.AUTO, RuntimeName.OPENVINO])
def test_a_damaged_model_is_refused(
    name: RuntimeName, value: float, have: Callable[..., None], sequences: TokenTable
) -> None:
    have(openvino=(0, 0.1))
    sizes: dict[str, Any] = {"layers": 1, "width": 16, "dimension": 16, "session_layers": 0, "session_heads": 2}
    damaged = UserBehaviorModel.from_scratch(vocab_size=100, **sizes).eval()
    with torch.no_grad():
        for parameter in damaged.parameters():
            parameter.fill_(value)
    with pytest.raises(QualityGateFailed, match="80 of 80 texts: the model is damaged"):
        choose_runtime(name, damaged, sequences)


@pytest.mark.parametrize("name", ["openvino", "onnx-int8"])
def test_sizes_of_one_product_are_no_reason_to_refuse(name: str) -> None:
    if any(find_spec(module) is None for module in ("openvino", "nncf", "onnxruntime", "onnxscript")):
        pytest.skip("not all engines are installed")
    torch.manual_seed(0)
    model = UserBehaviorModel.from_scratch(vocab_size=200, layers=2).eval()
    title = np.random.default_rng(0).integers(100, 200, 14)
    sizes = TokenTable.from_rows([[2, 5, *title, 7, 20 + size, 3] for size in range(60)])
    assert choose_runtime(RuntimeName(name), model, sizes).name == name


@pytest.mark.parametrize("name", ["openvino", "onnx-int8"])
def test_a_scrambled_encoder_is_refused(
    name: str, model: UserBehaviorModel, sequences: TokenTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Scrambled(Made):
        def encode(self, sequences: TokenTable) -> FloatArray:
            return self.exact.encode(sequences)[::-1]

    makers = {RuntimeName(name): lambda model: Scrambled(model, RuntimeName(name), 0, 0)}
    monkeypatch.setattr(choice, "_MAKERS", makers)
    with pytest.raises(QualityGateFailed):
        choose_runtime(RuntimeName(name), model, sequences)


def test_auto_does_not_try_for_a_few_texts(
    have: Callable[..., None], model: UserBehaviorModel, sequences: TokenTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    have(openvino=(0, 0))
    monkeypatch.setattr(choice, "_WORTH_CHOOSING", len(sequences) + 1)
    monkeypatch.setattr(choice, "benchmark_runtimes", lambda *_: pytest.fail("tried"))
    assert choose_runtime(RuntimeName.AUTO, model, sequences).name is RuntimeName.TORCH


def test_what_is_asked_for_by_name_is_checked_too(
    have: Callable[..., None], model: UserBehaviorModel, sequences: TokenTable
) -> None:
    have(openvino=(0.3, 0), onnx_int8=(0.001, 0))
    assert choose_runtime(RuntimeName.ONNX_INT8, model, sequences).name is RuntimeName.ONNX_INT8
    with pytest.raises(QualityGateFailed, match=r"openvino reads .* a cosine of 0\.\d+, .* type: --runtime torch"):
        choose_runtime(RuntimeName.OPENVINO, model, sequences)


@pytest.mark.parametrize("name", ["openvino", "onnx-int8", "openvino-int8"])
def test_an_engine_of_the_cpu_is_refused_elsewhere(name: str, model: UserBehaviorModel) -> None:
    with pytest.raises(NotFound, match=r"the device is meta; type: --device cpu"):
        make_runtime(RuntimeName(name), model.to("meta"))
