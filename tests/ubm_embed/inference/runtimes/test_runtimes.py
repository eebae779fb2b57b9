"""What every engine promises, whatever computes."""

from __future__ import annotations

import contextlib
import functools
import io
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
from ubm_embed.inference.runtimes.runtime import TextRuntime, encode_all
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.inference.runtimes.selection import make_runtime
from ubm_embed.inference.runtimes.torch_runtime import TorchRuntime
from ubm_embed.model.autocast import computes_bfloat16
from ubm_embed.model.user_behavior_model import UserBehaviorModel

Texts = Callable[[list[int]], TokenTable]

# How far a component of a vector may be from float32's.
TOLERANCE = {
    RuntimeName.TORCH: 1e-5,
    RuntimeName.TORCH_BFLOAT16: 0.05,
    RuntimeName.OPENVINO: 0.05,  # bfloat16 where the CPU has it
    RuntimeName.ONNX_INT8: 0.1,
    RuntimeName.OPENVINO_INT8: 0.1,
}
# int8 activations share a scale a batch.
ALONE = {RuntimeName.TORCH: 1e-5, RuntimeName.OPENVINO: 0.02, RuntimeName.TORCH_BFLOAT16: 0.02}


def lacks(name: RuntimeName) -> str | None:
    """Why this machine has not that engine."""
    needs = {
        RuntimeName.OPENVINO: ("openvino", "onnxscript"),
        RuntimeName.OPENVINO_INT8: ("openvino", "nncf", "onnxscript"),
        RuntimeName.ONNX_INT8: ("onnxruntime", "onnxscript"),
    }
    missing = [module for module in needs.get(name, ()) if find_spec(module) is None]
    if missing:
        return f"{', '.join(missing)} is not installed"
    if name is RuntimeName.TORCH_BFLOAT16 and not computes_bfloat16(torch.device("cpu")):
        return "this CPU does not compute in bfloat16"
    return None


@pytest.fixture(scope="session")
def texts(tokenizer: InteractionTokenizer) -> Texts:
    """Products alone, of texts of these lengths."""

    def texts(lengths: list[int]) -> TokenTable:
        random = np.random.default_rng(0)
        words = np.flatnonzero(tokenizer.is_word)
        rows = TokenTable.from_rows([random.choice(words, length) for length in lengths])
        return interaction_sequences(tokenizer, rows, np.full(len(lengths), NO_ACTION), np.arange(len(lengths)))

    return texts


@dataclass(frozen=True)
class Made:
    """An engine, float32's beside it, and what was printed while it was made."""

    engine: TextRuntime
    exact: TextRuntime
    printed: str


@pytest.fixture(scope="module")
def made(tokenizer: InteractionTokenizer) -> Callable[[RuntimeName], Made]:
    """Engines over one tiny model, each made once: to convert a model takes seconds."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"layers": 2, "width": 32, "dimension": 16, "session_layers": 2, "session_heads": 2}
    model = UserBehaviorModel.from_scratch(vocab_size=tokenizer.vocab_size, **sizes).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)

    @functools.cache
    def made(name: RuntimeName) -> Made:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            engine = make_runtime(name, model)
        return Made(engine, TorchRuntime(model), printed.getvalue())

    return made


@pytest.mark.parametrize("name", [name for name in RuntimeName if name is not RuntimeName.AUTO])
class TestEveryEngine:
    @pytest.fixture
    def one(self, name: RuntimeName, made: Callable[[RuntimeName], Made]) -> Made:
        if (reason := lacks(name)) is not None:
            pytest.skip(reason)
        return made(name)

    def test_has_the_models_vectors_at_every_shape(self, name: RuntimeName, one: Made, texts: Texts) -> None:
        for lengths in ([9, 9, 9], [1], [0, 3], [MAX_TOKENS - 2] * 2, [*range(1, 30)], [5] * 65):
            sequences = texts(lengths)
            found = one.engine.encode(sequences)
            assert found.shape == (len(lengths), 16)
            assert found.dtype == np.float32
            assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-3)
            assert np.abs(found - one.exact.encode(sequences)).max() < TOLERANCE[name], lengths

    def test_reads_a_text_as_it_does_alone(self, name: RuntimeName, one: Made, texts: Texts) -> None:
        sequences = texts([7, 4, 12, 5])
        alone = np.concatenate([one.engine.encode(sequences.take(np.array([row]))) for row in range(4)])
        assert np.abs(alone - one.engine.encode(sequences)).max() < ALONE.get(name, TOLERANCE[name])

    def test_leaves_vectors_as_they_were_when_it_reads_more(self, one: Made, texts: Texts) -> None:
        first = one.engine.encode(texts([6, 6]))
        before = first.copy()
        one.engine.encode(texts([6, 6]).take(np.array([1, 0])))
        assert np.array_equal(first, before)

    def test_keeps_the_callers_order_over_batches(self, name: RuntimeName, one: Made, texts: Texts) -> None:
        told: list[tuple[int, int]] = []
        sparing, sequences = Sparing(one.engine, 40), texts([11, 3, 20, 3, 8] * 4)
        found = encode_all(sparing, sequences, lambda done, of: told.append((done, of)))
        assert sparing.calls > 3
        assert np.abs(found - one.engine.encode(sequences)).max() < ALONE.get(name, TOLERANCE[name])
        assert told[-1] == (20, 20)
        assert told == sorted(told)

    def test_gives_each_of_several_threads_its_own(self, one: Made, texts: Texts) -> None:
        asked = [texts([length] * 40) for length in (5, 9, 14, 20)]
        expected = [one.engine.encode(sequences) for sequences in asked]

        def all_right(which: int) -> bool:
            return all(np.allclose(one.engine.encode(asked[which]), expected[which], atol=1e-5) for _ in range(25))

        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(all_right, range(4)))

    def test_is_made_without_a_word(self, name: RuntimeName, one: Made) -> None:
        assert one.printed == ""
        assert one.engine.name is name


@pytest.mark.skipif(lacks(RuntimeName.OPENVINO_INT8) is not None, reason="OpenVINO is not installed")
def test_nobody_is_told_that_openvino_is_used(made: Callable[[RuntimeName], Made]) -> None:
    made(RuntimeName.OPENVINO_INT8)
    assert sys.modules["openvino_telemetry"] is None


class Sparing:
    """An engine that takes few tokens at once, and counts."""

    def __init__(self, engine: TextRuntime, tokens: int) -> None:
        self.engine, self.name, self.tokens_at_once, self.calls = engine, engine.name, tokens, 0
        self.by_length = engine.by_length

    def encode(self, sequences: TokenTable) -> np.ndarray:
        self.calls += 1
        return self.engine.encode(sequences)


@pytest.mark.parametrize(("name", "extra"), [("onnx-int8", "onnx"), ("openvino", "openvino"), ("openvino-int8", "")])
def test_a_missing_library_says_what_to_type(
    name: str, extra: str, model: UserBehaviorModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(module: str) -> Any:
        raise ImportError(f"No module named {module!r}")

    monkeypatch.setattr(optional_library, "import_module", missing)
    with pytest.raises(NotFound, match=rf"No module named .*; type: pip install 'ubm-embed\[{extra}"):
        make_runtime(RuntimeName(name), model)


def test_bfloat16_is_refused_where_it_would_be_emulated(
    model: UserBehaviorModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ubm_embed.inference.runtimes.torch_runtime.computes_bfloat16", lambda device: False)
    with pytest.raises(NotFound, match="--runtime torch"):
        make_runtime(RuntimeName.TORCH_BFLOAT16, model)
