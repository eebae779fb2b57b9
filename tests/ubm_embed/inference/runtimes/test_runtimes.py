"""What every runtime promises."""

from __future__ import annotations

import functools
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch

from ubm_embed.data.batches.distinct_batches import NO_ACTION, interaction_sequences
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.data.text.tokenizer import MAX_TOKENS, InteractionTokenizer
from ubm_embed.errors import NotFound
from ubm_embed.inference.runtimes import optional_library
from ubm_embed.inference.runtimes.optional_library import load_library
from ubm_embed.inference.runtimes.runtime import TextRuntime, encode_all
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.inference.runtimes.selection import make_runtime
from ubm_embed.inference.runtimes.torch_model import TorchModel
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.device import computes_bfloat16
from ubm_embed.model.user_behavior_model import UserBehaviorModel

Texts = Callable[[list[int]], TokenTable]

FLOAT32 = torch.finfo(torch.float32).eps
BFLOAT16 = torch.finfo(torch.bfloat16).eps
INT8 = 1 / 127
# Two encoders of two layers are some 10 sums in a row, of at most 32 terms, each of which may be rounded.
SUMS, LENGTH = 10, 32
# How far a component of a unit vector may be from float32's. In the coarse formats the sums are taken in float32, and
# only what goes in and comes out is rounded.
TOLERANCE = {
    RuntimeName.TORCH: SUMS * LENGTH * FLOAT32,
    RuntimeName.ONNX: SUMS * LENGTH * FLOAT32,
    RuntimeName.TORCH_BFLOAT16: SUMS * BFLOAT16,
    RuntimeName.OPENVINO: SUMS * BFLOAT16,  # bfloat16 if the CPU has it
    RuntimeName.ONNX_INT8: SUMS * INT8 * 2,  # weights and activations
    RuntimeName.OPENVINO_INT8: SUMS * INT8 * 2,
}
# How far it may be from itself in another batch: the scales of ONNX Runtime's activations are those of the batch.
ALONE = {**TOLERANCE, RuntimeName.OPENVINO: SUMS * BFLOAT16 / 2, RuntimeName.TORCH_BFLOAT16: SUMS * BFLOAT16 / 2}


def lacks(name: RuntimeName) -> str | None:
    """Why this machine does not have a runtime; None if it does."""
    needs = {
        RuntimeName.ONNX: ("onnx", "onnxruntime"),
        RuntimeName.OPENVINO: ("onnx", "openvino"),
        RuntimeName.OPENVINO_INT8: ("onnx", "openvino", "nncf"),
        RuntimeName.ONNX_INT8: ("onnx", "onnxruntime"),
    }
    missing = [module for module in needs.get(name, ()) if find_spec(module) is None]
    if missing:
        return f"{', '.join(missing)} is not installed"
    if name is RuntimeName.TORCH_BFLOAT16 and not computes_bfloat16(torch.device("cpu")):
        return "this CPU does not compute in bfloat16"
    return None


@pytest.fixture(scope="session")
def texts(tokenizer: InteractionTokenizer) -> Texts:
    """Products with texts of these lengths."""

    def texts(lengths: list[int]) -> TokenTable:
        random = np.random.default_rng(0)
        words = np.flatnonzero(tokenizer.is_word)
        rows = TokenTable.from_rows([random.choice(words, length) for length in lengths])
        return interaction_sequences(tokenizer, rows, np.full(len(lengths), NO_ACTION), np.arange(len(lengths)))

    return texts


@dataclass(frozen=True)
class Made:
    """A runtime, and that of float32 over the same model."""

    runtime: TextRuntime
    exact: TextRuntime


def tiny_model(vocab_size: int) -> UserBehaviorModel:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"layers": 2, "width": 32, "dimension": 16, "session_layers": 2, "session_heads": 2}
    model = UserBehaviorModel.from_scratch(vocab_size=vocab_size, **sizes).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope="module")
def made(tokenizer: InteractionTokenizer) -> Callable[[RuntimeName], Made]:
    """Runtimes over one tiny model, each made once, because converting a model takes seconds."""
    model = tiny_model(tokenizer.vocab_size)
    checkpoint = Checkpoint(model, tokenizer, "toy")

    @functools.cache
    def made(name: RuntimeName) -> Made:
        return Made(make_runtime(name, checkpoint, "cpu"), TorchModel(model))

    return made


@pytest.mark.parametrize("name", [name for name in RuntimeName if name is not RuntimeName.AUTO])
class TestEveryRuntime:
    @pytest.fixture
    def one(self, name: RuntimeName, made: Callable[[RuntimeName], Made]) -> Made:
        if (reason := lacks(name)) is not None:
            pytest.skip(reason)
        return made(name)

    def test_has_the_models_vectors_at_every_shape(self, name: RuntimeName, one: Made, texts: Texts) -> None:
        for lengths in ([9, 9, 9], [1], [0, 3], [MAX_TOKENS - 2] * 2, [*range(1, 30)], [5] * 65):
            sequences = texts(lengths)
            vectors = one.runtime.encode(sequences)
            assert vectors.shape == (len(lengths), 16)
            assert vectors.dtype == np.float32
            assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-3)
            assert np.abs(vectors - one.exact.encode(sequences)).max() < TOLERANCE[name], lengths

    def test_reads_a_text_as_it_does_alone(self, name: RuntimeName, one: Made, texts: Texts) -> None:
        sequences = texts([7, 4, 12, 5])
        alone = np.concatenate([one.runtime.encode(sequences.take(np.array([row]))) for row in range(4)])
        assert np.abs(alone - one.runtime.encode(sequences)).max() < ALONE[name]

    def test_leaves_vectors_as_they_were_when_it_reads_more(self, one: Made, texts: Texts) -> None:
        first = one.runtime.encode(texts([6, 6]))
        before = first.copy()
        one.runtime.encode(texts([6, 6]).take(np.array([1, 0])))
        assert np.array_equal(first, before)

    def test_keeps_the_callers_order_over_batches(self, name: RuntimeName, one: Made, texts: Texts) -> None:
        reports: list[tuple[int, int]] = []
        small, sequences = SmallBatches(one.runtime, 40), texts([11, 3, 20, 3, 8] * 4)
        vectors = encode_all(small, sequences, lambda done, of: reports.append((done, of)))
        assert small.calls > 3
        assert np.abs(vectors - one.runtime.encode(sequences)).max() < ALONE[name]
        assert reports[-1] == (20, 20)
        assert reports == sorted(reports)

    def test_gives_each_of_several_threads_its_own(self, one: Made, texts: Texts) -> None:
        batches = [texts([length] * 40) for length in (5, 9, 14, 20)]
        expected = [one.runtime.encode(sequences) for sequences in batches]

        def all_right(which: int) -> bool:
            return all(
                np.allclose(one.runtime.encode(batches[which]), expected[which], atol=TOLERANCE[RuntimeName.TORCH])
                for _ in range(25)
            )

        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(all_right, range(4)))

    def test_has_its_name(self, name: RuntimeName, one: Made) -> None:
        assert one.runtime.name is name


CONVERTED = [RuntimeName.ONNX_INT8, RuntimeName.OPENVINO_INT8]
needs_converters = pytest.mark.skipif(any(map(lacks, CONVERTED)), reason="not all runtimes are installed")


@needs_converters
def test_two_threads_convert_models_and_leave_the_process_as_it_was(
    model: UserBehaviorModel, tokenizer: InteractionTokenizer
) -> None:
    def state() -> tuple[Any, ...]:
        filters = list(logging.root.filters), list(warnings.filters)
        hidden = [name for name, module in sys.modules.items() if module is None]  # which nobody can import
        return dict(os.environ), sys.stdout, logging.root.manager.disable, filters, hidden

    checkpoint = Checkpoint(model, tokenizer, "toy")

    load_library("nncf", extra="openvino")  # which sets up loggers of its own
    before = state()
    with ThreadPoolExecutor(2) as threads:
        runtimes = list(threads.map(lambda name: make_runtime(name, checkpoint, "cpu"), CONVERTED))
    assert [runtime.name for runtime in runtimes] == CONVERTED
    assert state() == before


COMMAND = """
import sys
from cli.process import set_up_process
set_up_process()

import numpy as np
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.inference.runtimes.selection import make_runtime
from ubm_embed.model.checkpoint import Checkpoint
from ubm_embed.model.user_behavior_model import UserBehaviorModel

sizes = {"layers": 1, "width": 16, "dimension": 16, "session_layers": 0, "session_heads": 2}
model = UserBehaviorModel.from_scratch(vocab_size=50, **sizes).eval()
for name in (RuntimeName.ONNX_INT8, RuntimeName.OPENVINO_INT8):
    make_runtime(name, Checkpoint(model, None, "toy"), "cpu")
from nncf.telemetry import wrapper
assert not hasattr(wrapper, "Telemetry")
"""


@needs_converters
def test_a_command_converts_models_without_a_word_to_anyone() -> None:
    run = subprocess.run([sys.executable, "-c", COMMAND], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


class SmallBatches:
    """A runtime that takes few tokens per batch, and counts its batches."""

    def __init__(self, runtime: TextRuntime, tokens: int) -> None:
        self.runtime, self.name, self.tokens_per_batch, self.calls = runtime, runtime.name, tokens, 0

    def encode(self, sequences: TokenTable) -> np.ndarray:
        self.calls += 1
        return self.runtime.encode(sequences)


@pytest.mark.parametrize(
    ("name", "library", "extra"),
    [
        ("onnx", "onnxruntime", "cpu"),
        ("onnx-int8", "onnxruntime.quantization", "onnx"),
        ("openvino", "openvino", "openvino"),
        ("openvino-int8", "nncf", "openvino"),
    ],
)
def test_a_missing_library_says_what_to_type(
    name: str,
    library: str,
    extra: str,
    model: UserBehaviorModel,
    tokenizer: InteractionTokenizer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(module: str) -> Any:
        if module == library:
            raise ImportError(f"No module named {module!r}")
        return import_module(module)

    pytest.importorskip("onnx", reason="onnx is not installed")
    monkeypatch.setattr(optional_library, "import_module", load)
    with pytest.raises(NotFound, match=rf"No module named .{library}.*; type: pip install 'ubm-embed\[{extra}\]"):
        make_runtime(RuntimeName(name), Checkpoint(model, tokenizer, "toy"), "cpu")


def test_bfloat16_is_refused_where_it_would_be_emulated(
    model: UserBehaviorModel, tokenizer: InteractionTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ubm_embed.inference.runtimes.torch_model.computes_bfloat16", lambda device: False)
    with pytest.raises(NotFound, match="--runtime torch"):
        make_runtime(RuntimeName.TORCH_BFLOAT16, Checkpoint(model, tokenizer, "toy"), "cpu")
