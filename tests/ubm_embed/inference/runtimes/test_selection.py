"""Which runtime reads: the requested one, or the fastest that keeps quality. The runtimes here are made up."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import Any, cast

import numpy as np
import pytest
import torch

from ubm_embed.data.arrays import FloatArray
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import InteractionTokenizer
from ubm_embed.errors import NotFound, QualityGateFailed
from ubm_embed.inference.runtimes.runtime import TextRuntime
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.inference.runtimes.selection import (
    RuntimeBenchmark,
    SelectionRules,
    benchmark_runtimes,
    choose_runtime,
    encode_timed,
    make_runtime,
)
from ubm_embed.inference.runtimes.torch_model import TorchModel
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.user_behavior_model import UserBehaviorModel


class Made:
    """A runtime with the model's vectors plus noise, whose time is given."""

    tokens_per_batch = 10_000

    def __init__(self, model: UserBehaviorModel, name: RuntimeName, noise: float, seconds: float) -> None:
        self.exact, self.name, self.noise, self.seconds = TorchModel(model), name, noise, seconds

    def encode(self, sequences: TokenTable) -> FloatArray:
        vectors = self.exact.encode(sequences)
        noisy = vectors + self.noise * np.random.default_rng(0).standard_normal(vectors.shape).astype(np.float32)
        return noisy / np.linalg.norm(noisy, axis=1, keepdims=True)


def given_time(runtime: TextRuntime, sample: TokenTable) -> tuple[FloatArray, float]:
    return runtime.encode(sample), getattr(runtime, "seconds", 1.0)


def rules(builds: dict[RuntimeName, Any] | None = None, **settings: Any) -> SelectionRules:
    """This machine has float32, which takes a second, and these runtimes. Texts of an untrained model are all near each
    other, so neighbours do not count unless a test says so."""
    return SelectionRules(builds=builds or {}, **{"min_texts": 1, "min_nearest": 0, "timing": given_time, **settings})


def have(**runtimes: tuple[float, float]) -> dict[RuntimeName, Any]:
    """Runtimes by name, each with its noise and its seconds."""
    names = {name: RuntimeName(name.replace("_", "-")) for name in runtimes}
    return {
        names[name]: lambda model, device, made=(names[name], noise, seconds): Made(model.model, *made)
        for name, (noise, seconds) in runtimes.items()
    }


def opened(model: UserBehaviorModel) -> Checkpoint:
    return Checkpoint(model, cast(InteractionTokenizer, None), "toy")


def choose(
    name: RuntimeName, model: UserBehaviorModel, sequences: TokenTable, rules: SelectionRules | None = None
) -> TextRuntime:
    return choose_runtime(name, opened(model), TorchModel(model), sequences, "cpu", rules)


def results_of(model: UserBehaviorModel, sample: TokenTable, rules: SelectionRules) -> list[RuntimeBenchmark]:
    return benchmark_runtimes(opened(model), TorchModel(model), sample, "cpu", rules)


@pytest.fixture
def sequences() -> TokenTable:
    random = np.random.default_rng(0)
    return TokenTable.from_rows([[2, *random.integers(20, 60, random.integers(1, 20)), 3] for _ in range(80)])


def test_auto_takes_the_fastest(model: UserBehaviorModel, sequences: TokenTable) -> None:
    three = rules(have(openvino=(0, 0.3), onnx_int8=(0, 0.1), openvino_int8=(0, 0.5)))
    assert choose(RuntimeName.AUTO, model, sequences, three).name is RuntimeName.ONNX_INT8
    slow = rules(have(openvino=(0, 1.3)))
    assert choose(RuntimeName.AUTO, model, sequences, slow).name is RuntimeName.TORCH


def test_auto_leaves_out_runtimes_without_quality(model: UserBehaviorModel, sequences: TokenTable) -> None:
    three = rules(have(openvino=(0.02, 0.1), onnx_int8=(0.02, 0.3), openvino_int8=(0.5, 0.1)))
    results = {result.runtime.name: result for result in results_of(model, sequences, three)}
    # The same noise is too much for a float format and little enough for eight bits.
    assert 0.99 < results[RuntimeName.OPENVINO].agreement.min_cosine < 0.999
    passed = {name for name, result in results.items() if three.keeps_quality(result)}
    assert passed == {RuntimeName.TORCH, RuntimeName.ONNX_INT8}
    assert choose(RuntimeName.AUTO, model, sequences, three).name is RuntimeName.ONNX_INT8


def test_auto_leaves_out_runtimes_with_other_neighbours(model: UserBehaviorModel, sequences: TokenTable) -> None:
    lenient = rules(have(onnx_int8=(0.02, 0.1)))
    _, noisy = results_of(model, sequences, lenient)
    assert lenient.keeps_quality(noisy)
    strict = replace(lenient, min_nearest=noisy.agreement.nearest + 0.01)
    assert not strict.keeps_quality(noisy)
    assert choose(RuntimeName.AUTO, model, sequences, strict).name is RuntimeName.TORCH


def test_auto_goes_without_a_missing_library(model: UserBehaviorModel, sequences: TokenTable) -> None:
    def missing(model: Checkpoint, device: str) -> Made:
        raise NotFound("not installed")

    without = rules({RuntimeName.OPENVINO: missing})
    assert choose(RuntimeName.AUTO, model, sequences, without).name is RuntimeName.TORCH
    with pytest.raises(NotFound, match="not installed"):
        choose(RuntimeName.OPENVINO, model, sequences, without)


@pytest.mark.parametrize("fails", ["when it is made", "when it reads"])
def test_auto_goes_without_a_runtime_that_fails_and_warns(
    fails: str, model: UserBehaviorModel, sequences: TokenTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Any:
        raise RuntimeError("no such operation\nand a long report")

    def made(model: Checkpoint, device: str) -> Made:
        runtime = Made(model.model, RuntimeName.OPENVINO, 0, 0)
        monkeypatch.setattr(runtime, "encode", broken)
        return runtime

    failing = rules({RuntimeName.OPENVINO: broken if fails == "when it is made" else made})
    with pytest.warns(UserWarning, match=r"going without openvino, which failed: RuntimeError: no such operation$"):
        assert choose(RuntimeName.AUTO, model, sequences, failing).name is RuntimeName.TORCH


@pytest.mark.parametrize("value", [0.0, float("nan")])
@pytest.mark.parametrize("name", [RuntimeName.AUTO, RuntimeName.OPENVINO])
def test_a_damaged_model_is_refused(name: RuntimeName, value: float, sequences: TokenTable) -> None:
    sizes: dict[str, Any] = {"layers": 1, "width": 16, "dimension": 16, "session_layers": 0, "session_heads": 2}
    damaged = UserBehaviorModel.from_scratch(vocab_size=100, **sizes).eval()
    with torch.no_grad():
        for parameter in damaged.parameters():
            parameter.fill_(value)
    with pytest.raises(QualityGateFailed, match="80 of 80 texts have none: the model is damaged"):
        choose(name, damaged, sequences, rules(have(openvino=(0, 0.1))))


@pytest.mark.parametrize("name", ["openvino", "onnx-int8"])
def test_sizes_of_one_product_are_no_reason_to_refuse(name: str) -> None:
    if any(find_spec(module) is None for module in ("openvino", "onnx", "onnxruntime")):
        pytest.skip("not all runtimes are installed")
    torch.manual_seed(0)
    model = UserBehaviorModel.from_scratch(vocab_size=200, layers=2).eval()
    title = np.random.default_rng(0).integers(100, 200, 14)
    sizes = TokenTable.from_rows([[2, 5, *title, 7, 20 + size, 3] for size in range(60)])
    assert choose(RuntimeName(name), model, sizes).name == name


@pytest.mark.parametrize("name", ["openvino", "onnx-int8"])
def test_a_runtime_that_mixes_up_texts_is_refused(name: str, model: UserBehaviorModel, sequences: TokenTable) -> None:
    class Scrambled(Made):
        def encode(self, sequences: TokenTable) -> FloatArray:
            return self.exact.encode(sequences)[::-1]

    scrambled = rules({RuntimeName(name): lambda model, device: Scrambled(model.model, RuntimeName(name), 0, 0)})
    with pytest.raises(QualityGateFailed):
        choose(RuntimeName(name), model, sequences, scrambled)


def test_auto_measures_nothing_for_a_few_texts(model: UserBehaviorModel, sequences: TokenTable) -> None:
    def unexpected(*_: object) -> Any:
        pytest.fail("measured")

    few = rules(have(openvino=(0, 0)), min_texts=len(sequences) + 1, timing=unexpected)
    assert choose(RuntimeName.AUTO, model, sequences, few).name is RuntimeName.TORCH


def test_a_runtime_requested_by_name_is_checked_too(model: UserBehaviorModel, sequences: TokenTable) -> None:
    two = rules(have(openvino=(0.3, 0), onnx_int8=(0.001, 0)))
    assert choose(RuntimeName.ONNX_INT8, model, sequences, two).name is RuntimeName.ONNX_INT8
    problem = r"openvino reads .* the smallest cosine is 0\.\d+, .* type: --runtime torch"
    with pytest.raises(QualityGateFailed, match=problem):
        choose(RuntimeName.OPENVINO, model, sequences, two)


@pytest.mark.parametrize("name", ["onnx", "openvino", "onnx-int8", "openvino-int8"])
def test_a_runtime_of_the_cpu_is_refused_elsewhere(name: str, model: UserBehaviorModel) -> None:
    with pytest.raises(NotFound, match=r"the device is cuda:0; type: --device cpu"):
        make_runtime(RuntimeName(name), opened(model), "cuda:0")


def test_a_warm_pass_is_timed(model: UserBehaviorModel, sequences: TokenTable) -> None:
    passes = []

    class Counting(Made):
        def encode(self, sequences: TokenTable) -> FloatArray:
            passes.append(len(sequences))
            return self.exact.encode(sequences)

    vectors, seconds = encode_timed(Counting(model, RuntimeName.OPENVINO, 0, 0), sequences)
    assert passes == [80, 80]
    assert seconds > 0
    assert vectors.shape == (80, 16)
