"""Which runtime reads a catalogue: the requested one, or the fastest here, if it agrees with float32.

Letters: N sequences, D width.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ubm_embed.data.arrays import FloatArray, evenly_spaced
from ubm_embed.data.text.token_table import TokenTable
from ubm_embed.errors import NotFound, QualityGateFailed
from ubm_embed.inference.runtimes.agreement import Agreement
from ubm_embed.inference.runtimes.graphs import Graphs
from ubm_embed.inference.runtimes.item_vectors import ItemVectors
from ubm_embed.inference.runtimes.onnx_model import open_int8_model, open_onnx_model
from ubm_embed.inference.runtimes.opening import graphs_of, open_torch_model
from ubm_embed.inference.runtimes.openvino_model import open_openvino_int8_model, open_openvino_model
from ubm_embed.inference.runtimes.runtime import TextRuntime, encode_all
from ubm_embed.inference.runtimes.runtime_name import RuntimeName
from ubm_embed.model.folder import ModelFolder

if TYPE_CHECKING:
    from ubm_embed.model.checkpoint import Checkpoint

# A core reads them in float32 within a second; each has its ten nearest among the others.
_SAMPLE = 512
_MIN_COSINE = 0.999
_MIN_COSINE_IN_INT8 = 0.99
# How far the length of a normalised vector may be from 1.
_UNIT_TOLERANCE = 1e-3

Model: TypeAlias = "ModelFolder | Checkpoint"
Build = Callable[[Model, str], TextRuntime]
Timing = Callable[[TextRuntime, TokenTable], tuple[FloatArray, float]]


def _over_graphs(open_model: Callable[[Graphs, ItemVectors | None], TextRuntime]) -> Build:
    """A runtime over a model's graphs. It is for the CPU only."""

    def build(model: Model, device: str) -> TextRuntime:
        with graphs_of(model) as (graphs, item_vectors):
            return open_model(graphs, item_vectors)

    return build


def _in_bfloat16(model: Model, device: str) -> TextRuntime:
    return open_torch_model(model, device).in_bfloat16()


BUILDS: Mapping[RuntimeName, Build] = {
    RuntimeName.TORCH: open_torch_model,
    RuntimeName.TORCH_BFLOAT16: _in_bfloat16,
    RuntimeName.ONNX: _over_graphs(open_onnx_model),
    RuntimeName.OPENVINO: _over_graphs(open_openvino_model),
    RuntimeName.ONNX_INT8: _over_graphs(open_int8_model),
    RuntimeName.OPENVINO_INT8: _over_graphs(open_openvino_int8_model),
}
"""How each runtime is built for a model on a device."""
_IN_FLOAT32 = {RuntimeName.TORCH, RuntimeName.ONNX}
_IN_INT8 = {RuntimeName.ONNX_INT8, RuntimeName.OPENVINO_INT8}
_CPU_ONLY = {RuntimeName.ONNX, RuntimeName.OPENVINO, *_IN_INT8}


@dataclass(frozen=True)
class RuntimeBenchmark:
    """A runtime's result on a sample.

    Attributes:
        seconds: its time for the sample, warm.
        agreement: with float32, on the sample.
    """

    runtime: TextRuntime
    seconds: float
    agreement: Agreement


def encode_timed(runtime: TextRuntime, sample: TokenTable) -> tuple[FloatArray, float]:
    """The vectors of a sample [N, D] and the seconds of a warm pass."""
    encode_all(runtime, sample)  # the first pass of each shape compiles and allocates
    started = time.perf_counter()
    vectors = encode_all(runtime, sample)
    return vectors, time.perf_counter() - started


@dataclass(frozen=True, kw_only=True)
class SelectionRules:
    """What runtimes there are, and when one may replace float32.

    Attributes:
        builds: see `BUILDS`.
        min_texts: fewer texts are read in float32. Loading and building all runtimes takes some 15 seconds, in which
            one of two cores reads more than this.
        min_nearest: limit for `Agreement.nearest`, half a neighbour in ten. Sound 8-bit weights of a trained model kept
            0.98 and more, so anything below is more than rounding.
        timing: reads and times a sample.
    """

    builds: Mapping[RuntimeName, Build] = field(default_factory=lambda: BUILDS)
    min_texts: int = 5_000
    min_nearest: float = 0.95
    timing: Timing = encode_timed

    def keeps_quality(self, result: RuntimeBenchmark) -> bool:
        """Whether a runtime's vectors may replace those of float32."""
        name, agreement = result.runtime.name, result.agreement
        min_cosine = _MIN_COSINE_IN_INT8 if name in _IN_INT8 else _MIN_COSINE
        return agreement.min_cosine >= min_cosine and agreement.nearest >= self.min_nearest

    def fastest(self, results: Sequence[RuntimeBenchmark]) -> RuntimeBenchmark:
        """The fastest that keeps quality; one of the results must be float32."""
        return min(filter(self.keeps_quality, results), key=lambda result: result.seconds)


def choose_runtime(
    name: RuntimeName,
    model: Model,
    exact: TextRuntime,
    sequences: TokenTable,
    device: str,
    rules: SelectionRules | None = None,
) -> TextRuntime:
    """A runtime for a model, its product tower left out.

    Args:
        exact: what reads the model in float32, which all others are compared with.
        sequences: the distinct sequences to read, or some of them.
        device: as `device_name` has it.

    Raises:
        NotFound: the runtime's library is missing, or does not run on this device.
        QualityGateFailed: on a sample of the sequences it does not agree with float32, or the model is damaged and has
            no vectors in float32.
    """
    rules = rules or SelectionRules()
    if name is exact.name or (name is RuntimeName.AUTO and len(sequences) < rules.min_texts):
        return exact
    sample = sample_of(sequences)
    if name is RuntimeName.AUTO:
        return rules.fastest(benchmark_runtimes(model, exact, sample, device, rules)).runtime
    runtime = make_runtime(name, model, device, rules)
    result = benchmark_runtime(runtime, sample, _require_unit(encode_all(exact, sample)), rules)
    if not rules.keeps_quality(result):
        raise QualityGateFailed(
            f"{name} reads this model's products differently from float32: on {len(sample)} texts the smallest cosine "
            f"is {result.agreement.min_cosine:.4f}, and {result.agreement.nearest:.1%} of the ten nearest agree; "
            f"type: --runtime {exact.name}"
        )
    return runtime


def sample_of(sequences: TokenTable) -> TokenTable:
    """A sample of sequences, evenly spaced: the same each time."""
    return sequences.take(evenly_spaced(len(sequences), _SAMPLE))


def make_runtime(name: RuntimeName, model: Model, device: str, rules: SelectionRules | None = None) -> TextRuntime:
    """A runtime by its name, unchecked.

    Raises:
        NotFound: as `choose_runtime`.
    """
    if name in _CPU_ONLY and device != "cpu":
        raise NotFound(f"{name} runs on the CPU only, and the device is {device}; type: --device cpu")
    return (rules or SelectionRules()).builds[name](model, device)


def benchmark_runtimes(
    model: Model, exact: TextRuntime, sample: TokenTable, device: str, rules: SelectionRules | None = None
) -> list[RuntimeBenchmark]:
    """The results of `exact`, and of every coarser runtime on this machine. Warns about those that fail with an error.

    Raises:
        QualityGateFailed: the sample has no vectors in float32.
    """
    rules = rules or SelectionRules()
    vectors, seconds = rules.timing(exact, sample)
    results = [RuntimeBenchmark(exact, seconds, Agreement.from_vectors(_require_unit(vectors), vectors))]
    for name in (name for name in rules.builds if name not in _IN_FLOAT32):
        try:
            results.append(benchmark_runtime(make_runtime(name, model, device, rules), sample, vectors, rules))
        except NotFound:
            continue
        except Exception as error:  # of a library that this catalogue can do without
            reason = (str(error).strip() or "no reason given").splitlines()[0]
            warnings.warn(f"going without {name}, which failed: {type(error).__name__}: {reason}", stacklevel=2)
    return results


def benchmark_runtime(
    runtime: TextRuntime, sample: TokenTable, exact: FloatArray, rules: SelectionRules | None = None
) -> RuntimeBenchmark:
    """The result of a runtime on a sample whose vectors in float32 are `exact` [N, D]."""
    vectors, seconds = (rules or SelectionRules()).timing(runtime, sample)
    return RuntimeBenchmark(runtime, seconds, Agreement.from_vectors(exact, vectors))


def _require_unit(exact: FloatArray) -> FloatArray:
    """The vectors [N, D], if all have length 1: a damaged model's are zero or NaN."""
    lengths = np.linalg.norm(exact, axis=1)
    damaged = int((~(np.abs(lengths - 1) < _UNIT_TOLERANCE)).sum())  # counts NaN too
    if damaged:
        raise QualityGateFailed(
            f"expected vectors of length 1, but {damaged} of {len(exact)} texts have none: the model is damaged; "
            "use an earlier one, or train it again"
        )
    return exact
